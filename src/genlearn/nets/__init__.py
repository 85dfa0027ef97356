"""Networks: modules that map tensors and hold parameters and buffers, nothing else."""
