using System.Text;
using CsCheck;
using Xunit.Abstractions;

namespace ArchAzure.UnitTests.Fuzz;

/// <summary>
/// Feeds a parser with generated input. Each input must end soon, without much memory, with a result or an <see cref="ArchAzureException"/>
/// whose message can be shown. A failure prints the seed and the smallest input found; CsCheck_Seed=SEED repeats it.
/// </summary>
internal static class FuzzRun
{
    // Far above what any input takes, also on a busy machine; a loop without end takes longer.
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(10);

    // What one input may allocate, in bytes, unless its test says otherwise. The inputs themselves are a few KiB.
    private const long MostMemory = 16 << 20;

    /// <summary>Seconds for each parser (ARCHAZURE_FUZZ_SECONDS); -1 for the short run of a fixed number of inputs.</summary>
    public static int Seconds { get; } =
        int.TryParse(Environment.GetEnvironmentVariable("ARCHAZURE_FUZZ_SECONDS"), out var seconds) && seconds > 0 ? seconds : -1;

    /// <summary>Runs the inputs through a parser.</summary>
    /// <param name="inputs">The inputs.</param>
    /// <param name="output">Gets the number of inputs.</param>
    /// <param name="read">Parses one, and asserts what must hold of the result.</param>
    /// <param name="count">How many inputs the short run takes.</param>
    /// <param name="memory">The most bytes one input may allocate.</param>
    public static void Run<T>(this Gen<T> inputs, ITestOutputHelper output, Action<T> read, int count, long memory = MostMemory)
    {
        long all = 0, refused = 0;
        inputs.Sample(
            input =>
            {
                all++;
                if (!Survives(read, input, memory))
                {
                    refused++;
                }
            },
            iter: count,
            time: Seconds,
            threads: 1,
            print: Print);
        output.WriteLine($"{all} inputs, {refused} of them refused with an error of ours.");
    }

    /// <summary>Whether a message can be shown: it says something, and nothing that a terminal would take as a command.</summary>
    public static void AssertShowable(ArchAzureException error)
    {
        Assert.False(string.IsNullOrWhiteSpace(error.ErrorId));
        Assert.False(string.IsNullOrWhiteSpace(error.Message));
        Assert.True(error.Message.Length < 5000, $"The message has {error.Message.Length} characters.");
        Assert.DoesNotContain(error.Message, c => char.IsControl(c) && c is not ('\n' or '\t' or '\r'));
    }

    // As C# has it, to be copied into a test.
    private static string Print<T>(T input) => input switch
    {
        byte[] bytes => $"Convert.FromHexString(\"{Convert.ToHexString(bytes)}\")",
        string text => System.Text.Json.JsonSerializer.Serialize(text),
        _ => input?.ToString() ?? "null",
    };

    // On another thread, so that what never ends fails here. CsCheck itself would wait for ever.
    private static bool Survives<T>(Action<T> read, T input, long memory)
    {
        var reading = Task.Run(() =>
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            var accepted = true;
            try
            {
                read(input);
            }
            catch (ArchAzureException e)
            {
                AssertShowable(e);
                accepted = false;
            }

            var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.True(allocated <= memory, $"It allocated {allocated} bytes.");
            return accepted;
        });
        Assert.True(((IAsyncResult)reading).AsyncWaitHandle.WaitOne(s_limit), $"It has not ended after {s_limit.TotalSeconds} s.");
        return reading.GetAwaiter().GetResult();
    }
}
