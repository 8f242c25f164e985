#include "api.hpp"

#include "cpu.hpp"

int32_t photoglue_abi() { return PHOTOGLUE_ABI; }

const char* photoglue_instruction_set() { return photoglue::name_of(photoglue::instruction_set()); }
