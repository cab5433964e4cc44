"""AMD: amdgpu, kernel parameters, amd-smi and rocm-smi."""
