using System.Globalization;

namespace ArchAzure.BuildTests;

/// <summary>
/// The module run by an ordinary user in a process of its own: no root, a home and a work directory of the user's, and the
/// group of the Docker socket or not. Everything it needs is copied to where that user may read.
/// </summary>
internal sealed class OtherUserHost : IAsyncDisposable
{
    private readonly TempFolder _folder = new();
    private readonly int _user;
    private readonly string _groups;

    private OtherUserHost(int user, string groups)
    {
        _user = user;
        _groups = groups;
    }

    public string WorkDirectory => _folder["home/work"];

    private string Home => _folder["home"];

    public static async Task<OtherUserHost> CreateAsync(Pipeline pipeline, int user, bool mayUseDocker)
    {
        Assert.True(Environment.IsPrivilegedProcess, "Running as another user takes root. Run the build tests as root.");
        var group = (await Tool.RunAsync("stat", "--dereference", "--format=%g", TestSetup.EngineSocket)).Trim();
        var host = new OtherUserHost(user, mayUseDocker ? group : "");
        var shared = host._folder["shared"];
        Directory.CreateDirectory(shared);
        await Tool.RunAsync("cp", "--recursive", "--no-target-directory", TestSetup.Module, Path.Combine(shared, "module"));
        await Tool.RunAsync("cp", "--recursive", "--no-target-directory", Path.GetDirectoryName(TestSetup.PowerShell)!, Path.Combine(shared, "powershell"));

        // The mirror's files lie in root's cache.
        Directory.CreateDirectory(host.WorkDirectory);
        var key = Path.Combine(shared, "release-key.asc");
        File.Copy(pipeline.Settings.ReleaseKey!, key);
        var agent = Path.Combine(shared, "waagent.tar.gz");
        File.Copy(Path.Combine(TestSetup.StandIn, "waagent.tar.gz"), agent);
        await File.WriteAllLinesAsync(
            Path.Combine(host.WorkDirectory, "settings.env"),
            [$"MIRROR={pipeline.Settings.Mirror}", $"RELEASE_URL={pipeline.Settings.ReleaseUrl}", $"RELEASE_KEY={key}", $"WAAGENT_SOURCE={agent}", $"DISK_SIZE={TestBuild.SmallDisk}"]);
        await Tool.RunAsync("chmod", "--recursive", "u+rwX,go+rX", host._folder.Path);
        await Tool.RunAsync("chown", "--recursive", $"{user}:{user}", host.Home);
        return host;
    }

    /// <summary>Runs PowerShell text with the module loaded.</summary>
    public async Task<ToolResult> RunAsync(string script)
    {
        var path = HostProcess.Write(_folder, $"shared/{Guid.NewGuid()}.ps1", _folder["shared/module"], script);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        var id = _user.ToString(CultureInfo.InvariantCulture);
        return await Tool.TryAsync(
            "setpriv",
            [
                $"--reuid={id}", $"--regid={id}", .. _groups.Length > 0 ? [$"--groups={_groups}"] : new[] { "--clear-groups" }, "--no-new-privs", "--",
                "env", $"--chdir={Home}", $"HOME={Home}", .. HostProcess.Command(_folder["shared/powershell/" + Path.GetFileName(TestSetup.PowerShell)], path),
            ]);
    }

    public ValueTask DisposeAsync()
    {
        _folder.Dispose();
        return ValueTask.CompletedTask;
    }
}
