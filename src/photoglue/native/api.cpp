#include "api.hpp"

#include "cpu.hpp"

#ifndef PHOTOGLUE_SOURCES
#define PHOTOGLUE_SOURCES ""
#endif

const char* photoglue_sources() { return PHOTOGLUE_SOURCES; }

int32_t photoglue_abi() { return PHOTOGLUE_ABI; }

const char* photoglue_instruction_set() { return photoglue::name_of(photoglue::instruction_set()); }

int32_t photoglue_choose(const char* instruction_set) { return photoglue::choose_instruction_set(instruction_set); }
