using System.Globalization;

namespace ArchAzure.BuildTests;

/// <summary>
/// The module run by an ordinary user in a process of its own: no root, a home and a work directory of the user's, and the
/// group of the Docker socket or not. The settings are the small build's. Everything it needs is copied to where that user may read.
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

    public string Home => _folder["home"];

    public static async Task<OtherUserHost> CreateAsync(Pipeline pipeline, int user, bool mayUseDocker)
    {
        Assert.True(Environment.IsPrivilegedProcess, "Running as another user takes root. Run the build tests as root.");
        var group = (await Tool.RunAsync("stat", "--dereference", "--format=%g", TestSetup.EngineSocket)).Trim();
        var host = new OtherUserHost(user, mayUseDocker ? group : "");
        var shared = host._folder["shared"];
        Directory.CreateDirectory(shared);
        await Tool.RunAsync("cp", "--recursive", "--no-target-directory", TestSetup.Module, Path.Combine(shared, "module"));
        await Tool.RunAsync(
            "cp", "--recursive", "--no-target-directory", Path.GetDirectoryName(TestSetup.PowerShell)!, Path.Combine(shared, "powershell"));

        // The mirror's files lie in root's cache.
        Directory.CreateDirectory(host.WorkDirectory);
        var (key, agent) = (Path.Combine(shared, "release-key.asc"), Path.Combine(shared, "waagent.git"));
        File.Copy(pipeline.Settings.ReleaseKey!, key);
        await Tool.RunAsync("cp", "--recursive", "--no-target-directory", Path.Combine(TestSetup.StandIn, "waagent.git"), agent);
        var settings = (await File.ReadAllLinesAsync(pipeline.Image.SettingsFile))
            .Where(line => line.Split('=')[0] is not ("RELEASE_KEY" or "WAAGENT_SOURCE" or "PACKAGE_CACHE"));
        await File.WriteAllLinesAsync(
            Path.Combine(host.WorkDirectory, "settings.env"),
            [.. settings, .. Pipeline.SmallSettings, $"RELEASE_KEY={key}", $"WAAGENT_SOURCE={agent}"]);
        await Tool.RunAsync("chmod", "--recursive", "u+rwX,go+rX", host._folder.Path);
        await Tool.RunAsync("chown", "--recursive", $"{user}:{user}", host.Home);
        return host;
    }

    /// <summary>Runs PowerShell text with the module loaded, under another program where one is given.</summary>
    public async Task<ToolResult> RunAsync(string script, params string[] before)
    {
        var path = Pwsh.Write(_folder, $"shared/{Guid.NewGuid()}.ps1", _folder["shared/module"], script);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        var id = _user.ToString(CultureInfo.InvariantCulture);
        return await Tool.TryAsync(
            "setpriv",
            [
                $"--reuid={id}", $"--regid={id}", .. _groups.Length > 0
                    ? [$"--groups={_groups}"]
                    : new[] { "--clear-groups" }, "--no-new-privs", "--", .. before,
                "env", $"--chdir={Home}", $"HOME={Home}", .. Pwsh.Command(
                    _folder["shared/powershell/" + Path.GetFileName(TestSetup.PowerShell)], path),
            ]);
    }

    public ValueTask DisposeAsync()
    {
        _folder.Dispose();
        return ValueTask.CompletedTask;
    }
}
