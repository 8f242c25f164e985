// What this processor and its operating system can do.
#pragma once

namespace photoglue {

enum class InstructionSet { none, avx2, avx_vnni, avx512_vnni };

// The best that there are kernels for. The variable PHOTOGLUE_INSTRUCTIONS can ask for a lesser one.
InstructionSet instruction_set();

const char* name_of(InstructionSet set);

}  // namespace photoglue
