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
# Symbols of the core are the component's own matter, also where another component brings a WireGuard or a JSON reader.
target_compile_options(${COMPONENT_LIB} PRIVATE -std=gnu11)
# For size, as our examples ask: prologues by calls of libgcc (CONFIG_COMPILER_SAVE_RESTORE_LIBCALLS would do it for all
# components; 16 KB less of ours), and the tuning for size (1 KB, and not slower). Both are gcc's for RISC-V.
if(CONFIG_IDF_TARGET_ARCH_RISCV AND CONFIG_COMPILER_OPTIMIZATION_SIZE AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(${COMPONENT_LIB} PRIVATE -msave-restore -mtune=size)
endif()
