using System.Buffers.Text;
using System.Text;

namespace ArchAzure.Bootstrap;

/// <summary>
/// The records of a pax header: <c>LENGTH KEY=VALUE\n</c>, the length in bytes of the whole record; values are bytes, not text.
/// </summary>
internal static class TarRecords
{
    public static void Parse(ReadOnlySpan<byte> data, Dictionary<string, byte[]> records, TarSource source)
    {
        while (data.Length > 0)
        {
            if (!Utf8Parser.TryParse(data, out int length, out var digits) || digits == 0 || digits >= data.Length || data[digits] != ' '
                || length <= digits + 2 || length > data.Length || data[length - 1] != '\n')
            {
                throw source.Corrupt("an extended header is damaged");
            }

            var record = data[(digits + 1)..(length - 1)];
            var equals = record.IndexOf((byte)'=');
            if (equals <= 0)
            {
                throw source.Corrupt("an extended header is damaged");
            }

            records[Encoding.UTF8.GetString(record[..equals])] = record[(equals + 1)..].ToArray();
            data = data[length..];
        }
    }

    public static byte[] Encode(IEnumerable<KeyValuePair<string, byte[]>> records)
    {
        using var data = new MemoryStream();
        foreach (var (key, value) in records)
        {
            var name = Encoding.UTF8.GetBytes(key);
            // The length counts its own digits.
            var rest = name.Length + value.Length + 3;
            var length = rest + rest.ToString().Length;
            length = rest + length.ToString().Length;
            data.Write(Encoding.ASCII.GetBytes($"{length} "));
            data.Write(name);
            data.WriteByte((byte)'=');
            data.Write(value);
            data.WriteByte((byte)'\n');
        }

        return data.ToArray();
    }
}
