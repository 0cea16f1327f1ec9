//! seeds to scenarios over whole stacks, with faults and power cuts
