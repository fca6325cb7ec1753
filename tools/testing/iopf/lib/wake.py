# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What QEMU's q35 needs to wake up from suspend to RAM: an ACPI table with a method _WAK.

The chip set comes out of suspend as out of a reset. SeaBIOS leaves it at that: there
are neither ACPI's registers nor the configuration space beyond 256 bytes (ECAM) then.
The kernel calls _WAK before it resumes devices, and _WAK puts both back to where
SeaBIOS has them at boot.

The encoding is that of the ACPI specification, chapter "AML Specification".
"""

# Of a device on bus 0, by the ports 0xcf8 and 0xcfc: register, and what belongs there
CONFIGURATION = ((0x00, 0, 0x60, 0xb0000001),       # host bridge: ECAM at 0xb0000000
                 (0x1f, 0, 0x40, 0x00000601),       # ISA bridge: ACPI's ports from 0x600
                 (0x1f, 0, 0x44, 0x00000080))       # ... are there
# What the kernel itself says at boot, by the port for commands to the firmware
ACPI_ENABLE = 2

SYSTEM_IO = 1
BYTE, DWORD = 1, 3      # how a field is accessed
ZERO, BYTE_PREFIX, WORD_PREFIX, DWORD_PREFIX = b"\x00", b"\x0a", b"\x0b", b"\x0c"
METHOD, PACKAGE, STORE, RETURN = b"\x14", b"\x12", b"\x70", b"\xa4"
REGION, FIELD = b"\x5b\x80", b"\x5b\x81"


def integer(value: int) -> bytes:
    if value < 1 << 8:
        return BYTE_PREFIX + value.to_bytes(1, "little")
    if value < 1 << 16:
        return WORD_PREFIX + value.to_bytes(2, "little")
    return DWORD_PREFIX + value.to_bytes(4, "little")


def package(content: bytes) -> bytes:
    """Content behind its length, in which the bytes of the length count as well."""
    length = len(content) + 1
    if length < 1 << 6:
        return bytes([length]) + content
    length += 1
    return bytes([0x40 | length & 0xf, length >> 4]) + content


def ports(name: bytes, first: int, access: int, fields: list[tuple[bytes, int]]) -> bytes:
    """A region of I/O ports, and names for fields of so many bits in it."""
    size = sum(bits for _, bits in fields) // 8
    units = b"".join(field + bytes([bits]) for field, bits in fields)
    return (REGION + name + bytes([SYSTEM_IO]) + integer(first) + integer(size) +
            FIELD + package(name + bytes([access]) + units))


def store(value: int, name: bytes) -> bytes:
    return STORE + integer(value) + name


def table() -> bytes:
    """The table without its header, which QEMU adds."""
    lines = b"".join(
        store(0x80000000 | device << 11 | function << 8 | register, b"ADDR") +
        store(value, b"DATA") for device, function, register, value in CONFIGURATION)
    lines += store(ACPI_ENABLE, b"CMND")
    # no condition that the kernel should know of
    lines += RETURN + PACKAGE + package(b"\x02" + ZERO + ZERO)
    arguments = b"\x01"
    return (ports(b"CONF", 0xcf8, DWORD, [(b"ADDR", 32), (b"DATA", 32)]) +
            ports(b"SMIC", 0xb2, BYTE, [(b"CMND", 8)]) +
            METHOD + package(b"\\_WAK" + arguments + lines))
