"""One thread for all tests: the machine may be busy with experiments, and equal threads give equal bits."""

import torch

torch.set_num_threads(1)
