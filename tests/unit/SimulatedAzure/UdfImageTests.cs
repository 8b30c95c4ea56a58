using System.Buffers.Binary;
using System.Diagnostics;
using System.Text;
using ArchAzure.SimulatedAzure;
using CsCheck;
using Xunit;

namespace ArchAzure.UnitTests.SimulatedAzure;

public sealed class UdfImageTests
{
    private static readonly DateTimeOffset s_time = new(2026, 11, 22, 21, 0, 0, TimeSpan.Zero);

    [Fact]
    public void ReadsBackByTheSpecification()
    {
        var big = new byte[5000];
        new Random(1).NextBytes(big);
        UdfFile[] files = [new("ovf-env.xml", "<x/>"u8.ToArray()), new("empty", Array.Empty<byte>()), new("größe-Ω.bin", big)];

        var read = Reader.Read(UdfImage.Create("volume", files, s_time));

        Assert.Equal(files.Select(f => f.Name), read.Select(f => f.Name));
        Assert.All(files.Zip(read), pair => Assert.Equal(pair.First.Content.ToArray(), pair.Second.Content));
    }

    [Fact]
    public void ReadsBackWhateverTheNamesAndSizes()
    {
        var name = Gen.String[Gen.Char["abcXYZ019-_. äÿĀ漢"], 1, 126].Where(n => n is not ("." or ".."));
        Gen.Dictionary(name, Gen.Byte.Array[0, 9000])[0, 40].Sample(
            map =>
            {
                var files = map.Select(pair => new UdfFile(pair.Key, pair.Value)).ToArray();
                var read = Reader.Read(UdfImage.Create("v", files, s_time));
                Assert.Equal(files.Select(f => f.Name), read.Select(f => f.Name));
                Assert.All(files.Zip(read), pair => Assert.Equal(pair.First.Content.ToArray(), pair.Second.Content));
            },
            iter: 60);
    }

    [Fact]
    public void SameInputGivesTheSameBytes()
    {
        UdfFile[] files = [new("a", "1"u8.ToArray())];
        Assert.Equal(UdfImage.Create("v", files, s_time), UdfImage.Create("v", files, s_time));
    }

    [Theory]
    [InlineData("")]
    [InlineData(".")]
    [InlineData("..")]
    [InlineData("a/b")]
    [InlineData("a\0b")]
    public void RefusesWhatIsNotAFileName(string name)
    {
        var error = Assert.Throws<ArchAzureException>(() => UdfImage.Create("v", [new UdfFile(name, default)], s_time));
        Assert.Equal("InvalidUdfName", error.ErrorId);
    }

    [Fact]
    public void RefusesTheSameNameTwiceAndALongVolumeName()
    {
        Assert.Throws<ArchAzureException>(() => UdfImage.Create("v", [new UdfFile("a", default), new UdfFile("a", default)], s_time));
        Assert.Throws<ArchAzureException>(() => UdfImage.Create(new string('v', 31), [], s_time));
        Assert.Throws<ArchAzureException>(() => UdfImage.Create(new string('漢', 16), [], s_time));
    }

    /// <summary>7-Zip reads UDF with code of its own; the test says so and passes nothing where it is not installed.</summary>
    [SkippableFact]
    public void SevenZipExtractsTheSameBytes()
    {
        Skip.IfNot(File.Exists("/usr/bin/7z"), "7z (p7zip-full) is not installed");
        var directory = Directory.CreateTempSubdirectory();
        try
        {
            var image = Path.Combine(directory.FullName, "dvd.iso");
            var environment = new OvfEnvironment("host", "user") { UserPassword = "a&b" };
            File.WriteAllBytes(image, ProvisioningDvd.Create(environment, s_time));
            using var process = Process.Start(new ProcessStartInfo("/usr/bin/7z")
            {
                ArgumentList = { "x", "-tUDF", "-o" + directory.FullName, image },
                RedirectStandardOutput = true,
                UseShellExecute = false,
            })!;
            process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.Equal(0, process.ExitCode);
            Assert.Equal(environment.ToXml(), File.ReadAllBytes(Path.Combine(directory.FullName, "ovf-env.xml")));
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    /// <summary>Reads by the standards' offsets, and shares no code with the writer.</summary>
    private static class Reader
    {
        public static List<(string Name, byte[] Content)> Read(byte[] image)
        {
            Assert.Equal(0, image.Length % 2048);
            Assert.Equal("BEA01", Encoding.ASCII.GetString(image, (16 * 2048) + 1, 5));
            Assert.Equal("NSR02", Encoding.ASCII.GetString(image, (17 * 2048) + 1, 5));
            Assert.Equal("TEA01", Encoding.ASCII.GetString(image, (18 * 2048) + 1, 5));

            var last = (image.Length / 2048) - 1;
            var anchor = Descriptor(image, 256, 256, 2);
            Assert.Equal(anchor[16..32].ToArray(), Descriptor(image, last, last, 2)[16..32].ToArray());
            List<(string, byte[])>? first = null;
            foreach (var extent in new[] { 16, 24 })
            {
                var files = ReadSequence(image, (int)U32(anchor, extent + 4));
                if (first is not null)
                {
                    Assert.Equal(first.Select(f => f.Item1), files.Select(f => f.Item1));
                }

                first = files;
            }

            return first!;
        }

        private static List<(string Name, byte[] Content)> ReadSequence(byte[] image, int sequence)
        {
            int partition = -1, setBlock = -1;
            uint length = 0;
            for (var sector = sequence; ; sector++)
            {
                var id = BitConverter.ToUInt16(image, sector * 2048);
                var descriptor = Descriptor(image, sector, sector, id);
                if (id == 8)
                {
                    break;
                }

                if (id == 5)
                {
                    Assert.Equal("+NSR02", Encoding.ASCII.GetString(descriptor.Slice(25, 6)));
                    partition = (int)U32(descriptor, 188);
                    length = U32(descriptor, 192);
                }

                if (id == 6)
                {
                    Assert.Equal(2048u, U32(descriptor, 212));
                    Assert.Equal("*OSTA UDF Compliant", Encoding.ASCII.GetString(descriptor.Slice(217, 19)));
                    Assert.Equal(0x0102, BinaryPrimitives.ReadUInt16LittleEndian(descriptor[240..]));
                    setBlock = (int)U32(descriptor, 252);
                    var integrity = (int)U32(descriptor, 436);
                    Assert.Equal(1u, U32(Descriptor(image, integrity, integrity, 9), 28));
                }
            }

            Assert.True(partition > 256 && partition + length < (image.Length / 2048));
            var set = Descriptor(image, partition + setBlock, setBlock, 256);
            var root = Content(image, partition, (int)U32(set, 404), directory: true);
            var files = new List<(string, byte[])>();
            for (var offset = 0; offset < root.Length;)
            {
                Verify(root.AsSpan(offset), 257);
                int nameLength = root[offset + 19], use = BitConverter.ToUInt16(root, offset + 36);
                if ((root[offset + 18] & 8) == 0)
                {
                    var name = root.AsSpan(offset + 38 + use, nameLength);
                    files.Add((name[0] == 8 ? Encoding.Latin1.GetString(name[1..]) : Encoding.BigEndianUnicode.GetString(name[1..]),
                        Content(image, partition, BitConverter.ToInt32(root, offset + 24), directory: false)));
                }

                offset += (38 + use + nameLength + 3) / 4 * 4;
            }

            return files;
        }

        private static byte[] Content(byte[] image, int partition, int block, bool directory)
        {
            var entry = Descriptor(image, partition + block, block, 261);
            Assert.Equal(directory ? 4 : 5, entry[27]);
            var length = (int)BinaryPrimitives.ReadUInt64LittleEndian(entry[56..]);
            var allocations = (int)U32(entry, 172);
            if (length == 0)
            {
                Assert.Equal(0, allocations);
                return [];
            }

            Assert.Equal(8, allocations);
            Assert.Equal(length, (int)U32(entry, 176));
            return image.AsSpan((partition + (int)U32(entry, 180)) * 2048, length).ToArray();
        }

        private static Span<byte> Descriptor(byte[] image, int sector, int location, ushort id)
        {
            var descriptor = image.AsSpan(sector * 2048, 2048);
            Verify(descriptor, id);
            Assert.Equal((uint)location, U32(descriptor, 12));
            return descriptor;
        }

        private static void Verify(Span<byte> descriptor, ushort id)
        {
            Assert.Equal(id, BinaryPrimitives.ReadUInt16LittleEndian(descriptor));
            var sum = 0;
            for (var i = 0; i < 16; i++)
            {
                sum += i == 4 ? 0 : descriptor[i];
            }

            Assert.Equal((byte)sum, descriptor[4]);
            int length = BinaryPrimitives.ReadUInt16LittleEndian(descriptor[10..]), remainder = 0;
            foreach (var value in descriptor.Slice(16, length))
            {
                // The CRC by long division of the bit string, most significant bit first.
                for (var bit = 7; bit >= 0; bit--)
                {
                    var carry = ((remainder >> 15) ^ (value >> bit)) & 1;
                    remainder = (remainder << 1) & 0xFFFF;
                    remainder ^= carry == 1 ? 0x1021 : 0;
                }
            }

            Assert.Equal(remainder, BinaryPrimitives.ReadUInt16LittleEndian(descriptor[8..]));
        }

        private static uint U32(ReadOnlySpan<byte> span, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(span[offset..]);
    }
}
