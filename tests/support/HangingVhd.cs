using ArchAzure.Vhd;

namespace ArchAzure.TestSupport;

/// <summary>A disk that only BIOS starts, and that goes nowhere.</summary>
internal static class HangingVhd
{
    /// <summary>What it says on the first serial port.</summary>
    public const string LastWords = "archazure hangs";

    /// <summary>Makes it in a folder.</summary>
    /// <returns>Its path.</returns>
    public static string Create(TempFolder folder) => Create(folder["hangs.vhd"]);

    /// <summary>Makes it.</summary>
    public static string Create(string path)
    {
        // mov si, text; mov dx, 0; next: lodsb; test al, al; jz stop; mov ah, 1; int 14h (BIOS: send a character); jmp next; stop: cli; hlt
        byte[] code = [0xBE, 0x13, 0x7C, 0xBA, 0x00, 0x00, 0xAC, 0x84, 0xC0, 0x74, 0x06, 0xB4, 0x01, 0xCD, 0x14, 0xEB, 0xF5, 0xFA, 0xF4];
        var disk = new byte[1 << 20];
        code.CopyTo(disk, 0);
        "archazure hangs\r\n\0"u8.CopyTo(disk.AsSpan(code.Length));
        disk[510] = 0x55;
        disk[511] = 0xAA;
        using var file = File.Create(path);
        file.Write(disk);
        file.Write(VhdFooter.ForFixedDisk(disk.Length, Guid.NewGuid(), DateTimeOffset.UtcNow).ToBytes());
        return path;
    }
}
