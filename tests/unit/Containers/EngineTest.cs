using ArchAzure.Containers;

namespace ArchAzure.UnitTests.Containers;

/// <summary>A test with an engine of its own, faults on the way to it, and limits that make waits short.</summary>
public abstract class EngineTest : IDisposable
{
    internal const string BuilderImage = "archazure/builder:test";

    /// <summary>An answer takes some milliseconds; on a busy machine perhaps a hundred.</summary>
    internal static readonly EngineLimits Quick = new()
    {
        AnswerTimeout = TimeSpan.FromSeconds(20),
        WorkTimeout = TimeSpan.FromSeconds(20),
        CommitTimeout = TimeSpan.FromSeconds(20),
        ImportSilence = TimeSpan.FromSeconds(20),
        WatchInterval = TimeSpan.FromSeconds(20),
        CleanUpTimeout = TimeSpan.FromSeconds(20),
        Retries = new(3, TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(5)),
    };

    private readonly List<IDisposable> _owned = [];

    protected EngineTest()
    {
        Proxy = new EngineProxy(Engine.Socket);
        Log = new StepLog(Folder["log"], Reporter);
    }

    internal static Guid BuildId { get; } = Guid.NewGuid();

    internal FakeEngine Engine { get; } = new();

    internal EngineProxy Proxy { get; }

    internal TempFolder Folder { get; } = new();

    internal RecordingReporter Reporter { get; } = new();

    internal StepLog Log { get; }

    public virtual void Dispose()
    {
        _owned.ForEach(owned => owned.Dispose());
        Log.Dispose();
        Proxy.Dispose();
        Engine.Dispose();
        Folder.Dispose();
        GC.SuppressFinalize(this);
    }

    internal async Task<DockerEngine> ConnectAsync(EngineLimits? limits = null)
    {
        var docker = await DockerEngine.ConnectAsync(Reporter, Proxy.Address, limits ?? Quick, default);
        _owned.Add(docker);
        return docker;
    }

    /// <summary>Starts a builder; it ends with the test.</summary>
    internal async Task<Builder> StartBuilderAsync(
        DockerEngine? docker = null, bool hasTarget = false, IReadOnlyList<BindMount>? mounts = null)
    {
        if (!Engine.Images.Exists(image => image.Is(BuilderImage)))
        {
            Engine.AddImage(BuilderImage);
        }

        return await Builder.StartAsync(docker ?? await ConnectAsync(), Spec(hasTarget, mounts), Log, default);
    }

    internal static BuilderSpec Spec(bool hasTarget = false, IReadOnlyList<BindMount>? mounts = null) => new()
    {
        Image = BuilderImage,
        BuildId = BuildId,
        Purpose = "test",
        Mounts = mounts ?? [],
        Environment = new Dictionary<string, string>(StringComparer.Ordinal) { ["SOURCE_DATE_EPOCH"] = "1" },
        HasTarget = hasTarget,
    };

    /// <summary>Does all for the first time: on a busy machine that may take longer than short limits allow.</summary>
    internal async Task WarmUpAsync()
    {
        var builder = await StartBuilderAsync();
        await builder.RunAsync(["true"], null, default);
        await builder.DisposeAsync();
        Engine.Requests.Clear();
    }

    /// <summary>How often something was asked of the engine.</summary>
    internal int Asked(string pattern) =>
        Engine.Requests.Count(request => System.IO.Enumeration.FileSystemName.MatchesSimpleExpression(pattern, request));

    /// <summary>The step's log, which is still being written.</summary>
    internal string LogText()
    {
        using var reader = new StreamReader(new FileStream(Log.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        return reader.ReadToEnd();
    }

    /// <summary>An error that names a thing, a reason and a remedy.</summary>
    internal static async Task<ArchAzureException> FailsAsync(Func<Task> work, string errorId, params string[] words)
    {
        var error = await Assert.ThrowsAnyAsync<ArchAzureException>(() => work().WaitAsync(TimeSpan.FromMinutes(1)));
        Assert.True(errorId == error.ErrorId, $"Expected {errorId}, got {error.ErrorId}: {error.Message}");
        Assert.All(words, word => Assert.Contains(word, error.Message, StringComparison.Ordinal));
        return error;
    }
}
