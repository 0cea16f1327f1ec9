//! the shared vocabulary: sectors, ranges, buffers, requests, devices, errors, geometry
