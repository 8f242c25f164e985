// What this processor and its operating system can do.
#pragma once

namespace photoglue {

enum class InstructionSet { none, avx2, avx_vnni, avx512_vnni, amx_int8 };

// The best that there are kernels for. The variable PHOTOGLUE_INSTRUCTIONS can ask for a lesser one.
InstructionSet instruction_set();

// Has those who ask from now on take the one of this name; false if it is none, or more than there is here.
bool choose_instruction_set(const char* name);

const char* name_of(InstructionSet set);

}  // namespace photoglue
