"""Pure: what two models differ in, from headers and hashes of tensors, and which blocks match."""
