using System.Text;

namespace ArchAzure;

/// <summary>
/// Cuts bytes of UTF-8 into lines. A carriage return ends a line too, as progress bars want it, but only a line feed may end an empty one.
/// Of a line that is longer than the limit the rest is dropped, and the line says so: a program may write for ever without ending one.
/// </summary>
/// <param name="maximumLength">The most bytes kept of a line.</param>
internal sealed class LineCutter(int maximumLength = LineCutter.DefaultMaximumLength)
{
    /// <summary>Far longer than any line that is meant to be read, and short enough to be kept by the dozen.</summary>
    public const int DefaultMaximumLength = 64 << 10;

    private readonly List<byte> _bytes = [];
    private long _dropped;
    private bool _afterReturn;

    /// <summary>Takes some output, and hands over the lines that end in it.</summary>
    public void Add(ReadOnlySpan<byte> added, Action<string> line)
    {
        while (!added.IsEmpty)
        {
            var end = added.IndexOfAny((byte)'\n', (byte)'\r');
            var text = end < 0 ? added : added[..end];
            if (_afterReturn && (!text.IsEmpty || added[0] == (byte)'\r'))
            {
                Flush(line);
            }

            Keep(text);
            _afterReturn = end < 0 ? _afterReturn && text.IsEmpty : added[end] == (byte)'\r';
            if (end < 0)
            {
                return;
            }

            if (!_afterReturn)
            {
                Emit(line);
            }

            added = added[(end + 1)..];
        }
    }

    /// <summary>Hands over what is left when the output has ended.</summary>
    public void Flush(Action<string> line)
    {
        if (_bytes.Count > 0)
        {
            Emit(line);
        }
    }

    private void Keep(ReadOnlySpan<byte> text)
    {
        var kept = Math.Min(text.Length, maximumLength - _bytes.Count);
        _bytes.AddRange(text[..kept]);
        _dropped += text.Length - kept;
    }

    private void Emit(Action<string> line)
    {
        var text = Encoding.UTF8.GetString([.. _bytes]);
        line(_dropped == 0 ? text : $"{text} [the line is cut here: {_dropped} bytes more]");
        _bytes.Clear();
        _dropped = 0;
    }
}
