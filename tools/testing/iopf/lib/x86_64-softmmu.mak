# The devices of the x86 lanes (QEMU's --with-devices-x86_64). I440FX and VIRTIO_IOMMU
# are for QEMU's own qtests: many of them, that of virtio-iommu included, want that machine.
CONFIG_Q35=y
CONFIG_PCIE_PORT=y
CONFIG_VTD=y
CONFIG_AMD_IOMMU=y
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_SERIAL=y
CONFIG_VIRTIO_RNG=y
CONFIG_EDU=y
CONFIG_NVME_PCI=y
CONFIG_IOPF_TESTDEV=y
CONFIG_I440FX=y
CONFIG_VIRTIO_IOMMU=y
