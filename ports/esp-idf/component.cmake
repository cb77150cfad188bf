# The ESP-IDF component; included by the root CMakeLists.txt when ESP-IDF builds. SPDX-License-Identifier: MIT
#
# The same sources as on every other platform: all of src/, ports/common, and the port in this folder.
set(ml_root ${CMAKE_CURRENT_LIST_DIR}/../..)
file(GLOB ml_srcs ${ml_root}/src/*/*.c ${ml_root}/ports/common/*.c ${ml_root}/ports/esp-idf/*.c)

idf_component_register(
  SRCS ${ml_srcs}
  INCLUDE_DIRS ${ml_root}/include ${ml_root}/ports/esp-idf/include
  PRIV_INCLUDE_DIRS ${ml_root}/src ${ml_root}/ports/common ${ml_root}/ports/esp-idf
  REQUIRES esp_event esp_netif
  PRIV_REQUIRES lwip mbedtls nvs_flash
)
# espressif/libsodium comes with idf_component.yml; here for projects that have it as a component of their own.
idf_component_optional_requires(PRIVATE libsodium espressif__libsodium)

target_compile_definitions(${COMPONENT_LIB} PRIVATE ML_HOST_HEADER="esp_host.h" ML_STREAMS=6 ML_STREAM_RX=512
  ML_CFG_WG_WINDOW=256 ML_CFG_WG_WINDOW_PREVIOUS=128)
target_compile_options(${COMPONENT_LIB} PRIVATE -std=gnu11)
# lwIP's size of the table, which ESP-IDF has no option for; up to 127 nothing outside etharp.c depends on it.
if(CONFIG_MICROLINK_ARP_ENTRIES)
  idf_component_get_property(ml_lwip lwip COMPONENT_LIB)
  target_compile_definitions(${ml_lwip} PRIVATE ARP_TABLE_SIZE=${CONFIG_MICROLINK_ARP_ENTRIES})
endif()
# For size, as our examples ask, where gcc compiles: without optimisations that only grow this code (1.5 KB), and without inlining
# where it would add to a frame (-fconserve-stack). For RISC-V also prologues by calls of libgcc
# (CONFIG_COMPILER_SAVE_RESTORE_LIBCALLS would do it for all components; 16 KB less of ours), the tuning for size (1 KB), and
# texts that are not aligned to words (0.7 KB).
set(ml_size_options)
if(CONFIG_COMPILER_OPTIMIZATION_SIZE AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  list(APPEND ml_size_options -fno-ipa-cp -fno-caller-saves -fno-tree-loop-im -fno-tree-sra -fconserve-stack)
  if(CONFIG_IDF_TARGET_ARCH_RISCV)
    list(APPEND ml_size_options -msave-restore -mtune=size -malign-data=natural)
  endif()
  target_compile_options(${COMPONENT_LIB} PRIVATE ${ml_size_options})
endif()
if(CONFIG_MICROLINK_ONE_OBJECT)
  include(${CMAKE_CURRENT_LIST_DIR}/one_object.cmake)
endif()
