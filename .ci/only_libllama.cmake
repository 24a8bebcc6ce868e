# llama.cpp without the library that its own programs share: half of what there is to compile.
# Read behind `project(llama_cpp)` of llama-cpp-python, whose CMakeLists.txt forces the cached
# variable; one that is no cache entry goes before it (CMP0126).
set(LLAMA_BUILD_COMMON OFF)
