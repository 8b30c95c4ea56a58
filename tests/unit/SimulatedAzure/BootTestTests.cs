using System.ComponentModel;
using System.Net.Sockets;
using ArchAzure.SimulatedAzure;
using Renci.SshNet.Common;
using Xunit;

namespace ArchAzure.UnitTests.SimulatedAzure;

/// <summary>A boot test that cannot go on ends with an error of ours, not with a library's.</summary>
public sealed class BootTestTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public static TheoryData<string> Failures => [.. s_failures.Keys];

    private static readonly Dictionary<string, Exception> s_failures = new(StringComparer.Ordinal)
    {
        ["disk"] = new IOException("No space left on device."),
        ["rights"] = new UnauthorizedAccessException("Access to the path is denied."),
        ["socket"] = new SocketException((int)SocketError.TooManyOpenSockets),
        ["program"] = new Win32Exception("Exec format error"),
        ["ssh"] = new SshOperationTimeoutException("Session operation has timed out"),
    };

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Failures))]
    public async Task WhatBreaksItOffIsNamed(string name)
    {
        var error = await FailsAsync(new FakeLauncher(_folder, s_failures[name]));
        Assert.Equal("BootTestFailed", error.ErrorId);
        Assert.Same(s_failures[name], error.InnerException);
        Assert.Contains(s_failures[name].Message.TrimEnd('.'), error.Message, StringComparison.Ordinal);
        Assert.Contains("disk.vhd on generation 1 broke off", error.Message, StringComparison.Ordinal);
        Assert.Contains(_folder["log"], error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AFolderTooDeepForSocketsIsNamed()
    {
        var error = await FailsAsync(new FakeLauncher(_folder, null));
        Assert.Equal("TempPathTooLong", error.ErrorId);
        Assert.Contains("TMPDIR", error.Message, StringComparison.Ordinal);
    }

    private async Task<ArchAzureException> FailsAsync(FakeLauncher launcher)
    {
        var vhd = _folder.Write("disk.vhd", "never read");
        var options = new BootTestOptions(vhd, 1) { LogDirectory = _folder["log"] };
        return await Assert.ThrowsAsync<ArchAzureException>(
            () => new BootTest(launcher, options, new RecordingReporter()).RunAsync(CancellationToken.None));
    }

    /// <summary>Fails as told, or else gives a machine a folder whose name is too long.</summary>
    private sealed class FakeLauncher(TempFolder folder, Exception? failure) : IQemuLauncher, IQemuHost
    {
        public DirectoryInfo RunDirectory { get; } = Directory.CreateDirectory(folder[new string('x', 120)]);

        public Task<QemuTools> FindToolsAsync(CancellationToken cancellationToken) =>
            Task.FromResult(new QemuTools("/qemu", "/img", false, null));

        public Task<IQemuHost> PrepareAsync(string vhdPath, CancellationToken cancellationToken) =>
            failure is null ? Task.FromResult<IQemuHost>(this) : Task.FromException<IQemuHost>(failure);

        public string MapPath(string path) => path;

        public Task<(int ExitCode, string Output)> RunAsync(
            string program, IReadOnlyList<string> arguments, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public IQemuProcess Start(string program, IReadOnlyList<string> arguments) => throw new NotSupportedException();

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;

        public void Dispose()
        {
        }
    }
}
