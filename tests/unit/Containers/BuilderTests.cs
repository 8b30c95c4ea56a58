using System.Text.Json.Nodes;
using ArchAzure.Containers;
using ArchAzure.Machines;

namespace ArchAzure.UnitTests.Containers;

/// <summary>The container of a step: what it may do, how it starts and ends, and what becomes of it.</summary>
public sealed class BuilderTests : EngineTest
{
    private static readonly string s_name = $"archazure-test-{BuildId.ToString("N")[..8]}";
    private static readonly string s_label = $$"""{"archazure.build":"{{BuildId}}"}""";

    [Fact]
    public async Task A_builder_gets_what_it_was_promised_and_nothing_else()
    {
        await StartBuilderAsync(mounts: [new(Folder.Path, "/cache"), new(Folder["log"], "/log", ReadOnly: true)]);
        Same(
            $$"""
            {
              "Name":"{{s_name}}", "Image":"archazure/builder:test", "Hostname":"builder", "Labels":{{s_label}}, "WorkingDir":"/",
              "Entrypoint":["cat"], "AttachStdin":true, "OpenStdin":true, "StdinOnce":true,
              "Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/bin","LANG=C.UTF-8","SHELL=/bin/bash","SOURCE_DATE_EPOCH=1"],
              "HostConfig":{
                "NetworkMode":"none", "AutoRemove":true, "CapDrop":["ALL"], "SecurityOpt":["no-new-privileges"],
                "CapAdd":["CHOWN","DAC_OVERRIDE","FOWNER","FSETID","SETFCAP","SETGID","SETUID","SYS_CHROOT"],
                "Mounts":[
                  {"Type":"bind","Source":"{{Folder.Path}}","Target":"/cache"},
                  {"Type":"bind","Source":"{{Folder["log"]}}","Target":"/log","ReadOnly":true}]
              }
            }
            """);
        Assert.Equal(s_name, Assert.Single(Engine.Containers).Name);
    }

    [Theory]
    [InlineData("name=seccomp,profile=builtin", """["no-new-privileges"]""")]
    [InlineData("name=apparmor", """["no-new-privileges","apparmor=unconfined"]""")]
    public async Task A_builder_with_a_target_may_mount_and_its_root_cannot_be_written(string engineHas, string options)
    {
        Engine.SecurityOptions = [engineHas];
        var builder = await StartBuilderAsync(hasTarget: true);
        Same(
            $$"""
            {
              "Name":"{{s_name}}", "Image":"archazure/builder:test", "Hostname":"builder", "Labels":{{s_label}}, "WorkingDir":"/",
              "Entrypoint":["cat"], "AttachStdin":true, "OpenStdin":true, "StdinOnce":true,
              "Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/bin","LANG=C.UTF-8","SHELL=/bin/bash","SOURCE_DATE_EPOCH=1"],
              "HostConfig":{
                "NetworkMode":"none", "AutoRemove":true, "CapDrop":["ALL"], "SecurityOpt":{{options}},
                "CapAdd":["CHOWN","DAC_OVERRIDE","FOWNER","FSETID","SETFCAP","SETGID","SETUID","SYS_CHROOT","SETPCAP","SYS_ADMIN"],
                "ReadonlyRootfs":true, "Tmpfs":{"/run":"","/tmp":""},
                "Mounts":[{"Type":"volume","Target":"/target","VolumeOptions":{"Labels":{{s_label}} } }]
              }
            }
            """);
        Assert.Single(Engine.Volumes);
        await builder.DisposeAsync();
        Assert.Empty(Engine.Volumes);
    }

    [Fact]
    public async Task The_container_of_a_machine_gets_two_mounts_and_no_right()
    {
        Engine.AddImage("archazure/qemu:1");
        var spec = new MachineSpec
        {
            Image = "archazure/qemu:1", BuildId = BuildId, Vhd = Folder["log"], RunDirectory = Folder.Path,
            Owner = (1000, 100), Groups = [7], Kvm = true,
        };
        await LifelineContainer.StartAsync(await ConnectAsync(), "machine", spec.Parameters(), default);
        Same(
            $$"""
            {
              "Name":"machine", "Image":"archazure/qemu:1", "Hostname":"machine", "WorkingDir":"/", "User":"1000:100",
              "Labels":{"archazure.build":"{{BuildId}}","archazure.machine":"{{BuildId}}"},
              "Entrypoint":["cat"], "AttachStdin":true, "OpenStdin":true, "StdinOnce":true,
              "Env":["PATH=/usr/bin","LANG=C.UTF-8","HOME=/tmp"],
              "HostConfig":{
                "NetworkMode":"none", "AutoRemove":true, "CapDrop":["ALL"], "SecurityOpt":["no-new-privileges"], "GroupAdd":["7"],
                "ReadonlyRootfs":true, "Tmpfs":{"/tmp":""},
                "Devices":[{"PathOnHost":"/dev/kvm","PathInContainer":"/dev/kvm","CgroupPermissions":"rw"}],
                "Mounts":[
                  {"Type":"bind","Source":"{{Folder["log"]}}","Target":"/machine/disk.vhd","ReadOnly":true},
                  {"Type":"bind","Source":"{{Folder.Path}}","Target":"/machine/run"}]
              }
            }
            """);
    }

    [Theory]
    [InlineData("filtered\n", "--seccomp-filter=/run/archazure/filter")]
    [InlineData("", null)]
    public async Task Each_command_gives_up_the_right_to_mount_after_the_mounts_are_made(string said, string? filter)
    {
        List<FakeCommand> commands = [];
        var script = "";
        Engine.OnCommand = async command =>
        {
            commands.Add(command);
            if (command.HasInput)
            {
                script = await new StreamReader(command.Input).ReadToEndAsync();
                await command.WriteAsync(said);
            }

            return 0;
        };
        var builder = await StartBuilderAsync(hasTarget: true);
        await builder.RunAsync(["true", "with an argument"], null, default);

        Assert.Equal(["bash", "-s", "--", "/target", "/run/target", "0"], commands[0].Words);
        Assert.Contains("mount ", script, StringComparison.Ordinal);
        Assert.Equal($"FILTER={Convert.ToBase64String(SystemCallFilter.Program())}", Assert.Single(commands[0].Environment));
        Assert.Equal(
            [
                "unshare", "--fork", "--pid", "--kill-child", "--", "setpriv", "--bounding-set=-sys_admin,-setpcap",
                .. filter is null ? Array.Empty<string>() : [filter], "--", "sh", "-c", "\"$@\"; exit", "sh", "true", "with an argument",
            ],
            commands[1].Words);
        Assert.Empty(commands[1].Environment);
        Assert.Equal(
            filter is null,
            Reporter.Details.Any(detail => detail.Contains("filter of system calls does not work here", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task An_engine_that_forbids_mounts()
    {
        Engine.OnCommand = async command =>
        {
            await command.Input.CopyToAsync(Stream.Null);
            await command.WriteAsync("mount: /proc: permission denied.\n", error: true);
            return 32;
        };
        await FailsAsync(
            () => StartBuilderAsync(hasTarget: true),
            "MountRefused", "archazure-test-", "mount: /proc: permission denied.", "AppArmor or SELinux", "log of the engine");
        Assert.Empty(Engine.Containers);
    }

    [Fact]
    public async Task An_image_that_is_gone()
    {
        var docker = await ConnectAsync();
        await FailsAsync(
            () => Builder.StartAsync(docker, Spec(), Log, default),
            "BuilderImageNotFound", $"'{BuilderImage}'", "is gone", "New-ArchBootstrap -WorkDirectory");
    }

    [Fact]
    public async Task A_folder_that_the_engine_does_not_see() =>
        await FailsAsync(
            () => StartBuilderAsync(mounts: [new(Folder["nothing"], "/cache")]),
            "WorkDirectoryNotVisible", $"'{Folder["nothing"]}'", "another machine", "use a local engine");

    [Fact]
    public async Task A_folder_of_a_setting_that_the_engine_does_not_see() =>
        await FailsAsync(
            () => StartBuilderAsync(
                mounts: [new(Folder.Path, "/cache"), new(Folder["nothing"], "/packages") { Setting = "PACKAGE_CACHE" }]),
            "WorkDirectoryNotVisible", $"'{Folder["nothing"]}'", "a folder it shares (setting PACKAGE_CACHE)");

    [Fact]
    public async Task A_container_that_does_not_start()
    {
        Engine.StartRefused = "OCI runtime create failed: unable to start";
        await FailsAsync(() => StartBuilderAsync(), "BuilderNotStarted", $"'{BuilderImage}'", "OCI runtime create failed", "docker info");
        Assert.Empty(Engine.Containers);
        Assert.Equal(1, Asked("POST /containers/create"));
    }

    [Theory]
    [InlineData("POST */containers/create", "AnswerLost")]
    [InlineData("POST */containers/create", "ServerError")]
    [InlineData("POST */attach", "Reset")]
    [InlineData("POST */containers/*/start", "AnswerLost")]
    public async Task A_start_that_goes_wrong_once_leaves_one_container(string call, string fault)
    {
        Proxy.With(call, Enum.Parse<EngineFault>(fault));
        var builder = await StartBuilderAsync();
        Assert.Equal(builder.Name, Assert.Single(Engine.Containers).Name);
        Assert.Equal("running", Engine.Containers[0].State);
        Assert.Contains(Reporter.Details, detail => detail.Contains("start container archazure-test-", StringComparison.Ordinal)
            && detail.Contains("attempt 2 of 3", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_container_ends_with_the_connection_that_holds_its_input()
    {
        Engine.AddImage(BuilderImage);
        var docker = await ConnectAsync();
        var container = await LifelineContainer.StartAsync(docker, "held", new() { Image = BuilderImage, HostConfig = new() }, default);
        var held = Assert.Single(Engine.Containers);
        Assert.False(held.Ended.Task.IsCompleted);
        container.Cut();
        await held.Ended.Task.WaitAsync(TimeSpan.FromSeconds(20));
        Assert.Equal(0, Asked("DELETE *"));
    }

    [Fact]
    public async Task What_cannot_be_removed_is_noted_in_the_log()
    {
        var builder = await StartBuilderAsync();
        Proxy.With("DELETE */containers/*", EngineFault.ServerError, int.MaxValue);
        await builder.DisposeAsync();
        Assert.Contains($"The builder {builder.Name} could not be removed: ", LogText(), StringComparison.Ordinal);
        Assert.Contains("The next run removes it.", LogText(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_image_is_made_of_a_builder()
    {
        const string image = "archazure/builder:2";
        var builder = await StartBuilderAsync();
        Engine.AddImage(image, "archazure/build:1-builder");
        Proxy.With("POST */commit", EngineFault.ServerError);
        await builder.CommitAsync(
            image, new Dictionary<string, string>(StringComparer.Ordinal) { ["archazure.builder"] = "Bootstrap" }, default);
        var made = Assert.Single(Engine.Images, made => !made.Is(BuilderImage));
        Assert.Equal(["archazure/builder:2", "archazure/build:1-builder"], made.Names);
        Assert.Equal("Bootstrap", made.Labels["archazure.builder"]);
    }

    [Theory]
    [InlineData("ImageNotSaved", null, "no space left on device")]
    [InlineData("ImageNotSaved", "Reset", "the builder archazure-test-")]
    [InlineData("DockerEngineStalled", "Stall", "commit archazure/builder:2")]
    public async Task An_image_that_cannot_be_made(string errorId, string? fault, string reason)
    {
        var limits = fault == "Stall" ? Quick with { CommitTimeout = TimeSpan.FromMilliseconds(100) } : Quick;
        var builder = await StartBuilderAsync(await ConnectAsync(limits));
        Engine.NoRoom = "no space left on device";
        if (fault is not null)
        {
            Proxy.With("POST */commit", Enum.Parse<EngineFault>(fault), int.MaxValue);
        }

        var error = await FailsAsync(
            () => builder.CommitAsync("archazure/builder:2", BuilderSpec.NoEnvironment, default), errorId, reason, "run the step again");
        Assert.Equal(fault != "Stall", error.Message.Contains("'archazure/builder:2' of the builder", StringComparison.Ordinal));
        Assert.Equal(fault != "Stall", error.Message.Contains("/fake/docker", StringComparison.Ordinal));
    }

    /// <summary>What the one container was made with, to the last option: what is not named is off.</summary>
    private void Same(string expected) =>
        Assert.Equal(
            Ordered(JsonNode.Parse(expected))?.ToJsonString(),
            Ordered(JsonNode.Parse(Assert.Single(Engine.AllContainers).Parameters.GetRawText()))?.ToJsonString());

    /// <summary>The same with its names in order, and without what says nothing: null, false, 0, and what is empty but for a path's
    /// options.</summary>
    private static JsonNode? Ordered(JsonNode? node)
    {
        switch (node)
        {
            case JsonObject pairs:
                var kept = pairs.Select(pair => KeyValuePair.Create(pair.Key, Ordered(pair.Value)))
                    .Where(pair => pair.Value is not null && (pair.Value.ToJsonString() != "\"\"" || pair.Key.StartsWith('/')));
                var ordered = new JsonObject(kept.OrderBy(pair => pair.Key, StringComparer.Ordinal));
                return ordered.Count > 0 ? ordered : null;
            case JsonArray items:
                return items.Count > 0 ? new JsonArray([.. items.Select(Ordered)]) : null;
            case JsonValue value when value.ToJsonString() is "false" or "0":
                return null;
            default:
                return node?.DeepClone();
        }
    }
}
