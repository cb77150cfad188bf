# CONFIG_MICROLINK_ONE_OBJECT: the component's archive holds one object, made by link-time optimisation of our objects alone.
# SPDX-License-Identifier: MIT
#
# A partial link: machine code comes out, so that ESP-IDF's linker scripts, other components and the final link know nothing of
# it. Each function keeps its section, unused ones are removed as always. Of our names only those of the public headers stay
# global, which is what lets the optimiser see the whole, and keeps ours apart from those of another WireGuard or JSON reader.

file(GLOB ml_headers ${ml_root}/include/microlink.h ${ml_root}/ports/esp-idf/include/*.h)
set(ml_exports)
foreach(header ${ml_headers})
  file(STRINGS ${header} lines REGEX "^[a-zA-Z].*microlink_[a-z0-9_]+\\(|^ESP_EVENT_DECLARE_BASE\\(")
  foreach(line ${lines})
    if(line MATCHES "(microlink_[a-z0-9_]+)\\(|ESP_EVENT_DECLARE_BASE\\(([A-Z_]+)\\)")
      list(APPEND ml_exports ${CMAKE_MATCH_1}${CMAKE_MATCH_2})
    endif()
  endforeach()
endforeach()

# "pie" is position-independent where the objects are (the target linux) and plain code elsewhere. One partition: the same code
# each time.
separate_arguments(ml_c_flags UNIX_COMMAND "${CMAKE_C_FLAGS}")
set(ml_partial_link ${CMAKE_C_COMPILER} ${ml_c_flags} -r -nostdlib -flto -flto-partition=one -flinker-output=pie -fwhole-program
  -Os -ffunction-sections -fdata-sections ${ml_size_options})

# On RISC-V these functions lie in the chip's ROM or, as ESP-IDF places the prologues of -msave-restore and the heap, in its RAM: out of
# reach of a call of four bytes. Each of our calls takes eight, or four when it goes to a jump beside our code: the object's references
# are renamed, and the jumps linked to it. 3 KB less for the ROM's, 5 KB for the prologues, which are one call each to save and to restore.
set(ml_jumps)
if(CONFIG_IDF_TARGET_ARCH_RISCV AND CMAKE_OBJCOPY)
  set(ml_far memcpy memset memcmp memmove memchr strlen strcmp __udivdi3 free)
  if(ml_size_options MATCHES "msave-restore")
    foreach(registers RANGE 12)
      list(APPEND ml_far __riscv_save_${registers} __riscv_restore_${registers})
    endforeach()
  endif()
  set(ml_jumps ${CMAKE_CURRENT_BINARY_DIR}/microlink_jumps.S)
  set(ml_jumps_text)
  set(ml_rename ${CMAKE_OBJCOPY})
  foreach(name IN LISTS ml_far)
    list(APPEND ml_rename --redefine-sym ${name}=ml_jump_${name})
    string(APPEND ml_jumps_text ".section .text.ml_jump_${name},\"ax\"\n.globl ml_jump_${name}\nml_jump_${name}:\n\ttail ${name}\n")
  endforeach()
  file(WRITE ${ml_jumps} "${ml_jumps_text}")
  set(ml_link_jumps ${CMAKE_C_COMPILER} ${ml_c_flags} -r -nostdlib -fno-lto ${ml_jumps})
endif()

# A compiler built without link-time optimisation, or one that leaves the other names global, is used as always.
function(ml_try_partial_link result)
  set(dir ${CMAKE_CURRENT_BINARY_DIR}/one_object_check)
  file(WRITE ${dir}/a.c "int inner(int x); int outer(int x) { return inner(x) + 1; }\n")
  file(WRITE ${dir}/b.c "__attribute__((noinline)) int inner(int x) { return x * 7; }\n")
  set(${result} NO PARENT_SCOPE)
  execute_process(COMMAND ${CMAKE_C_COMPILER} ${ml_c_flags} -Os ${ml_size_options} -flto -c a.c b.c WORKING_DIRECTORY ${dir}
    RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
  if(failed)
    return()
  endif()
  execute_process(COMMAND ${ml_partial_link} -Wl,-u,outer a.o b.o -o one.o WORKING_DIRECTORY ${dir}
    RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
  execute_process(COMMAND ${CMAKE_NM} -g one.o WORKING_DIRECTORY ${dir} OUTPUT_VARIABLE names ERROR_QUIET)
  if(NOT failed AND names MATCHES "outer" AND NOT names MATCHES "inner")
    set(${result} YES PARENT_SCOPE)
  endif()
endfunction()

ml_try_partial_link(ml_one_object)
if(ml_one_object)
  list(TRANSFORM ml_exports PREPEND "-Wl,-u," OUTPUT_VARIABLE ml_roots)
  list(APPEND ml_partial_link ${ml_roots})
  set(ml_object ${CMAKE_CURRENT_BINARY_DIR}/microlink.o)
  set(ml_with_jumps)
  if(ml_jumps)
    set(ml_with_jumps COMMAND ${ml_rename} ${ml_object} ${ml_object}.far
      COMMAND ${ml_link_jumps} ${ml_object}.far -o ${ml_object})
  endif()
  set_target_properties(${COMPONENT_LIB} PROPERTIES INTERPROCEDURAL_OPTIMIZATION ON)
  add_custom_command(TARGET ${COMPONENT_LIB} POST_BUILD
    COMMAND ${ml_partial_link} -Wl,--whole-archive $<TARGET_FILE:${COMPONENT_LIB}> -Wl,--no-whole-archive -o ${ml_object}
    ${ml_with_jumps}
    COMMAND ${CMAKE_COMMAND} -E remove $<TARGET_FILE:${COMPONENT_LIB}>
    COMMAND ${CMAKE_AR} rcs $<TARGET_FILE:${COMPONENT_LIB}> ${ml_object}
    COMMENT "Optimising microlink as one object" VERBATIM)
else()
  message(WARNING "microlink: this compiler cannot make the component one object; it will be about 8 KB larger")
endif()
