using System.Diagnostics;
using System.Management.Automation;
using System.Runtime.Loader;

namespace ArchAzure.ModuleTests;

/// <summary>The assembled module in a hosted session: for machines without pwsh. Module.Tests.ps1 goes further where there is one.</summary>
public sealed class AssembledModuleTests : IDisposable
{
    private static readonly string[] Cmdlets =
    [
        "ConvertTo-AzureVhd", "Enter-ArchTarget", "Get-ArchBuild", "Install-ArchBase", "Install-WaAgent", "Invoke-ArchBuild", "Invoke-ArchTarget",
        "New-ArchBootstrap", "New-ArchDisk", "Remove-ArchBuild", "Test-AzureVhd",
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory("archazure-module-").FullName;
    private readonly string? _dockerHost = Environment.GetEnvironmentVariable("DOCKER_HOST");
    private readonly ModuleSession _session = new();

    public AssembledModuleTests()
    {
        // No test here may depend on an engine, nor touch one.
        Environment.SetEnvironmentVariable("DOCKER_HOST", $"unix://{_folder}/no-engine.sock");
        _session.With("folder", _folder);
    }

    public static TheoryData<string> AllCmdlets => [.. Cmdlets];

    public static TheoryData<string> ChangingCmdlets => [.. Cmdlets.Where(name => name is not ("Get-ArchBuild" or "Test-AzureVhd"))];

    public void Dispose()
    {
        _session.Dispose();
        Environment.SetEnvironmentVariable("DOCKER_HOST", _dockerHost);
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void It_exports_its_cmdlets_and_nothing_else_also_when_imported_again()
    {
        _session.With("manifest", ModuleSession.Manifest).Invoke("Import-Module -Force $manifest; Import-Module -Force $manifest");

        Assert.Equal(Cmdlets, _session.Invoke("Get-Command -Module ArchAzure").Select(command => ((CommandInfo)command.BaseObject).Name).Order(StringComparer.Ordinal));
        Assert.All(_session.Invoke("Get-Command -Module ArchAzure"), command => Assert.IsType<CmdletInfo>(command.BaseObject));
    }

    [Fact]
    public void Its_dependencies_stay_out_of_the_context_all_modules_share()
    {
        Assert.StartsWith("DockerEngineNotFound,", _session.Error("New-ArchBootstrap $folder/none").FullyQualifiedErrorId, StringComparison.Ordinal);

        var own = Assert.Single(AssemblyLoadContext.All, context => context.Name == "ArchAzure");
        Assert.Contains("Docker.DotNet", own.Assemblies.Select(assembly => assembly.GetName().Name));
        Assert.DoesNotContain(
            AssemblyLoadContext.Default.Assemblies.Select(assembly => assembly.GetName().Name), name => name is "ArchAzure.Engine" or "Docker.DotNet" or "Polly.Core" or "BouncyCastle.Cryptography");
    }

    [Theory]
    [MemberData(nameof(AllCmdlets))]
    public void Every_cmdlet_and_every_parameter_has_help(string cmdlet)
    {
        _session.With("name", cmdlet).Invoke("$help = Get-Help $name -Full");
        var parameters = ((CmdletInfo)_session.Invoke("Get-Command $name")[0].BaseObject).Parameters.Keys.Except(Cmdlet.CommonParameters).Order(StringComparer.Ordinal);
        var synopsis = Texts("$help.Synopsis");

        // Where there is none, PowerShell makes one up that begins with the name.
        Assert.DoesNotContain(cmdlet, Assert.Single(synopsis), StringComparison.Ordinal);
        Assert.Equal(parameters, Texts("$help.parameters.parameter | ForEach-Object { $_.name }").Order(StringComparer.Ordinal));
        Assert.All(Texts("$help.parameters.parameter | ForEach-Object { \"$($_.description.Text)\" }"), text => Assert.False(string.IsNullOrWhiteSpace(text)));
        Assert.True(Texts("$help.examples.example | ForEach-Object { $_.code }").Count(code => code.Contains(cmdlet, StringComparison.Ordinal)) >= 2);
    }

    [Theory]
    [MemberData(nameof(ChangingCmdlets))]
    public void WhatIf_does_nothing(string cmdlet)
    {
        var command = cmdlet == "Invoke-ArchTarget" ? " -Command true" : "";

        Assert.Empty(_session.Invoke($"{cmdlet} -WorkDirectory $folder/none -WhatIf{command}"));
        Assert.Empty(Directory.EnumerateFileSystemEntries(_folder));
    }

    [Theory]
    [InlineData("Get-ArchBuild $folder/none", "BuildNotFound", ErrorCategory.ObjectNotFound, "/none")]
    [InlineData("New-ArchDisk $folder/none", "BuildNotFound", ErrorCategory.ObjectNotFound, "/none")]
    [InlineData("Get-ArchBuild variable:x", "NotAFilePath", ErrorCategory.InvalidArgument, "variable:x")]
    [InlineData("Invoke-ArchBuild $folder/none -First 6", "UnknownStep", ErrorCategory.InvalidArgument, "6")]
    [InlineData("Invoke-ArchBuild $folder/none 4 2", "StepsOutOfOrder", ErrorCategory.InvalidArgument, "4")]
    [InlineData("New-ArchBootstrap $folder/none -Mirror https://example.org/", "InvalidSettingValue", ErrorCategory.InvalidArgument, "MIRROR")]
    [InlineData("New-ArchBootstrap $folder/none -Reproducible", "SettingsConflict", ErrorCategory.InvalidArgument, "REPRODUCIBLE")]
    [InlineData("New-ArchBootstrap $folder/none -Snapshot 2026.11.31", "InvalidSettingValue", ErrorCategory.InvalidArgument, "SNAPSHOT")]
    [InlineData("New-ArchBootstrap $folder/none -Settings $folder/none.env", "SettingsFileNotFound", ErrorCategory.ObjectNotFound, "/none.env")]
    [InlineData("ConvertTo-AzureVhd -Path $folder/none.raw", "RawImageNotFound", ErrorCategory.ObjectNotFound, "/none.raw")]
    [InlineData("Invoke-ArchTarget $folder", "CommandOrScript", ErrorCategory.InvalidArgument, null)]
    [InlineData("New-ArchBootstrap $folder/none", "DockerEngineNotFound", ErrorCategory.ConnectionError, "no-engine.sock")]
    public void An_error_has_its_id_category_and_target(string script, string id, ErrorCategory category, string? target)
    {
        var error = _session.Error(script);

        Assert.StartsWith(id + ",ArchAzure.PowerShell.Commands.", error.FullyQualifiedErrorId, StringComparison.Ordinal);
        Assert.Equal(category, error.CategoryInfo.Category);
        Assert.Equal(target is null, error.TargetObject is null);
        Assert.EndsWith(target ?? "", error.TargetObject?.ToString() ?? "", StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(_folder, "none")));
    }

    [Fact]
    public void An_engine_that_is_not_there_is_told_in_whole_sentences() =>
        Assert.Contains(
            "no-engine.sock: there is no such socket. Start Docker", _session.Error("New-ArchBootstrap $folder/none").Exception.Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("Install-ArchBase -Kernel linux-zen", "linux-lts")]
    [InlineData("New-ArchDisk -RootFileSystem xfs", "btrfs")]
    [InlineData("Install-WaAgent -Agent other", "cloud-init")]
    public void A_wrong_value_of_few_names_the_right_ones(string script, string right)
    {
        var error = _session.Error(script);

        Assert.StartsWith("ParameterArgumentValidationError,", error.FullyQualifiedErrorId, StringComparison.Ordinal);
        Assert.Contains(right, error.Exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_wrong_source_of_QEMU_names_the_right_ones()
    {
        var error = _session.Error("Test-AzureVhd $folder/none.vhd -Boot -Qemu podman");

        Assert.StartsWith("CannotConvertArgumentNoMessage,", error.FullyQualifiedErrorId, StringComparison.Ordinal);
        Assert.All(["Auto", "Host", "Builder"], right => Assert.Contains(right, error.Exception.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void QEMU_from_the_builder_needs_a_build()
    {
        var vhd = _session.With("vhd", Path.Combine(_folder, "a.vhd"));
        File.WriteAllBytes(Path.Combine(_folder, "a.raw"), new byte[1 << 20]);
        vhd.Invoke("ConvertTo-AzureVhd -Path $folder/a.raw -Destination $vhd");

        var error = _session.Error("Test-AzureVhd $vhd -Boot -Qemu Builder");
        Assert.StartsWith("BuildNotFound,", error.FullyQualifiedErrorId, StringComparison.Ordinal);
        Assert.Contains("-WorkDirectory", error.Exception.Message, StringComparison.Ordinal);

        // A build from the pipe names its own work directory; nobody but the engine is missing then.
        var work = Sample("work", "done");
        File.Copy(Path.Combine(_folder, "a.vhd"), Path.Combine(work, "ArchLinux-2026.11.01.vhd"));
        error = _session.With("work", work).Error("Get-ArchBuild $work | Test-AzureVhd -Boot -Qemu Builder");
        Assert.StartsWith("DockerEngineNotFound,", error.FullyQualifiedErrorId, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("done", "done")]
    [InlineData("stale", "next: 4 Install-WaAgent")]
    public void A_stored_build_is_shown(string sample, string status)
    {
        var folder = Sample("a [b] ü it's $(x)", sample);

        var build = Assert.Single(_session.With("work", folder).Invoke("Get-ArchBuild $work"));

        Assert.Equal(status, build.Properties["Status"].Value);
        Assert.Equal("2026.11.01", build.Properties["Version"].Value);
        Assert.Equal(folder, build.Properties["WorkDirectory"].Value);
        Assert.Equal(Path.Combine(folder, "ArchLinux-2026.11.01.vhd"), build.Properties["VhdPath"].Value);
    }

    [Fact]
    public void A_build_goes_down_the_pipe_to_every_step()
    {
        _session.With("work", Sample("work", "stale"));

        // What the error is about tells that the build bound.
        Assert.StartsWith("StepStale,", _session.Error("Get-ArchBuild $work | ConvertTo-AzureVhd").FullyQualifiedErrorId, StringComparison.Ordinal);
        Assert.StartsWith("DockerEngineNotFound,", _session.Error("Get-ArchBuild $work | New-ArchDisk").FullyQualifiedErrorId, StringComparison.Ordinal);
        Assert.StartsWith("DockerEngineNotFound,", _session.Error("Get-ArchBuild $work | Invoke-ArchBuild -First 2").FullyQualifiedErrorId, StringComparison.Ordinal);
        Assert.StartsWith("InputObjectNotBound,", _session.Error("'text' | New-ArchDisk").FullyQualifiedErrorId, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_build_does_not_hide_the_others()
    {
        using var pipeline = _session.With("work", Sample("work", "done")).Pipeline("\"$folder/none\", $work, \"$folder/nothing\" | Get-ArchBuild");

        Assert.Single(pipeline.Invoke());
        Assert.Equal(2, pipeline.Streams.Error.Count);
    }

    [Theory]
    [InlineData("", true)]
    [InlineData(" -InPlace", false)]
    public void A_raw_image_becomes_a_VHD(string option, bool stays)
    {
        var raw = Path.Combine(_folder, "ü [1].raw");
        File.WriteAllBytes(raw, [.. Enumerable.Range(0, 3_000_000).Select(i => (byte)i)]);

        Assert.Empty(_session.With("raw", raw).Invoke($"ConvertTo-AzureVhd -Path $raw -WhatIf{option}"));
        Assert.Equal(raw, Assert.Single(Directory.EnumerateFiles(_folder)));

        var vhd = Assert.IsType<FileInfo>(Assert.Single(_session.Invoke($"ConvertTo-AzureVhd -Path $raw{option}")).BaseObject);

        Assert.Equal(Path.ChangeExtension(raw, ".vhd"), vhd.FullName);
        Assert.Equal((3 << 20) + 512, vhd.Length);
        Assert.True(File.ReadAllBytes(vhd.FullName).AsSpan(3 << 20).StartsWith("conectix"u8));
        Assert.Equal(stays, File.Exists(raw));
    }

    [Fact]
    public async Task Stopping_a_cmdlet_that_waits_ends_it_at_once()
    {
        using var engine = new StandInEngine(silent: true);
        Environment.SetEnvironmentVariable("DOCKER_HOST", engine.Address);
        using var pipeline = _session.Pipeline("New-ArchBootstrap $folder/none");
        var running = pipeline.BeginInvoke();
        await engine.Asked.WaitAsync(TimeSpan.FromSeconds(30));

        var clock = Stopwatch.StartNew();
        pipeline.Stop();

        Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(5));
        Assert.Equal(PSInvocationState.Stopped, pipeline.InvocationStateInfo.State);
        Assert.True(running.IsCompleted);
        Assert.False(Directory.Exists(Path.Combine(_folder, "none")));
    }

    [Fact]
    public async Task A_build_and_its_steps_are_shown_as_tables()
    {
        var work = Sample("work", "stale");

        var result = await HostProcess.Run(
            "-NonInteractive", "-Command", $"Import-Module '{ModuleSession.Manifest}'; $build = Get-ArchBuild '{work}'; $build | Out-Default; $build.Steps | Out-Default");

        var rows = result.OutputLines;
        Assert.Matches("^Version +Status +Size +Result", rows[0]);
        Assert.Matches(@"^2026\.11\.01 next: 4 Install-WaAgent +3072 MiB /", rows[2]);
        Assert.Contains(rows, row => row.StartsWith("Step Name", StringComparison.Ordinal));
        Assert.Contains(rows, row => row.StartsWith("   3 Install-ArchBase   Done", StringComparison.Ordinal));
        Assert.Contains(rows, row => row.StartsWith("   4 Install-WaAgent    Stale", StringComparison.Ordinal));
    }

    private List<string> Texts(string script) => [.. _session.Invoke(script).Select(text => text.ToString())];

    private string Sample(string name, string sample)
    {
        var folder = Directory.CreateDirectory(Path.Combine(_folder, name)).FullName;
        File.Copy(Path.Combine(HostProcess.Checkout, "tests", "module", "samples", sample + ".json"), Path.Combine(folder, "build.json"));
        return folder;
    }
}
