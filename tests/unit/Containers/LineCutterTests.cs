using System.Text;
using ArchAzure.Containers;

namespace ArchAzure.UnitTests.Containers;

public sealed class LineCutterTests
{
    [Theory]
    [InlineData("a\nb\n", "a", "b")]
    [InlineData("a\r\nb", "a", "b")]
    [InlineData("1%\r2%\r\rdone\n", "1%", "2%", "done")]
    [InlineData("\n\na\n", "", "", "a")]
    [InlineData("\r\n\r\r", "")]
    [InlineData("a\r", "a")]
    [InlineData("é\n", "é")]
    public void Lines_are_cut_wherever_the_pieces_end(string text, params string[] expected)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        for (var size = 1; size <= bytes.Length; size++)
        {
            List<string> lines = [];
            var cutter = new LineCutter();
            foreach (var piece in bytes.Chunk(size))
            {
                cutter.Add(piece, lines.Add);
            }

            cutter.Flush(lines.Add);
            Assert.Equal(expected, lines);
        }
    }

    [Fact]
    public void A_line_without_an_end_takes_no_memory_and_says_that_it_is_cut()
    {
        // As a command prints 1.5 GB without a newline: 80 KiB at a time.
        const int piece = 80 << 10;
        const int pieces = 20_000;
        List<string> lines = [];
        var cutter = new LineCutter();
        var bytes = new byte[piece];
        Array.Fill(bytes, (byte)'x');
        var before = GC.GetAllocatedBytesForCurrentThread();

        for (var i = 0; i < pieces; i++)
        {
            cutter.Add(bytes, lines.Add);
        }

        cutter.Add("\nnext\n"u8, lines.Add);

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 2 << 20);
        Assert.Equal(
            [$"{new string('x', 64 << 10)} [the line is cut here: {((long)piece * pieces) - (64 << 10)} bytes more]", "next"], lines);
    }

    [Fact]
    public void Collected_lines_are_bounded_and_say_by_what()
    {
        var few = new BoundedLines(3, 100) { "a", "b", "c" };
        Assert.Equal(["a", "b", "c"], few);
        Assert.False(few.IsFull);

        few.Add("d");
        few.Add("e");
        Assert.Equal(["a", "b", "c", "(2 more lines are left out; at most 3 lines or 100 characters are kept)"], few);
        Assert.True(few.IsFull);

        few.Clear();
        Assert.Empty(few);

        var large = new BoundedLines();
        var before = GC.GetAllocatedBytesForCurrentThread();
        var line = new string('x', 5000);
        for (var i = 0; i < 1_000_000; i++)
        {
            large.Add(line);
        }

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
        Assert.Equal((1 << 20) / 5000, large.Count - 1);
        Assert.Contains("at most 1000 lines or 1048576 characters", large[^1], StringComparison.Ordinal);
    }
}
