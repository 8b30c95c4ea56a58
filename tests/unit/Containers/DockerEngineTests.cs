using System.Net.Sockets;
using ArchAzure.Containers;

namespace ArchAzure.UnitTests.Containers;

/// <summary>Finding an engine, its images, and what a killed run has left in it.</summary>
public sealed class DockerEngineTests : EngineTest
{
    private const string Image = "archazure/bootstrap:2026.11.01";
    private const string Claim = "archazure/build:1-bootstrap";

    private static readonly Dictionary<string, string> s_labels = new(StringComparer.Ordinal) { ["archazure.bootstrap.sha256"] = "a=b c" };

    [Fact]
    public async Task An_engine_tells_what_it_is()
    {
        Engine.SecurityOptions = ["name=apparmor", "name=seccomp,profile=builtin", "name=rootless"];
        var docker = await ConnectAsync();
        Assert.Equal("28.0.0", docker.Version);
        Assert.True(docker is { HasAppArmor: true, IsRootless: true, MapsUsers: true, SharesKernel: true });

        Engine.SecurityOptions = ["name=userns"];
        docker = await ConnectAsync();
        Assert.True(docker is { HasAppArmor: false, IsRootless: false, MapsUsers: true });
    }

    [Fact]
    public async Task No_engine()
    {
        var address = new Uri($"unix://{Folder["nothing.sock"]}");
        await FailsAsync(
            () => DockerEngine.ConnectAsync(Reporter, address, Quick, default),
            "DockerEngineNotFound", Folder["nothing.sock"], "there is no such socket", "sudo systemctl start docker", "DOCKER_HOST");
        Assert.Empty(Reporter.Details);
    }

    [Fact]
    public async Task A_socket_on_which_nobody_listens()
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(Folder["dead.sock"]));
        await FailsAsync(
            () => DockerEngine.ConnectAsync(Reporter, new Uri($"unix://{Folder["dead.sock"]}"), Quick, default),
            "DockerEngineNotFound", Folder["dead.sock"], "refused", "Start Docker");
        Assert.Empty(Reporter.Details);
    }

    [Fact]
    public void A_socket_that_the_user_may_not_use()
    {
        // Root may use any: the system's word is taken from here.
        var cause = new HttpRequestException("denied", new SocketException((int)SocketError.AccessDenied));
        Assert.False(EngineCalls.IsTransient(cause));
        var error = EngineConnectionException.From("unix:///run/docker.sock", "info", 1, cause);
        Assert.Equal("DockerPermissionDenied", error.ErrorId);
        Assert.Equal(ErrorKind.PermissionDenied, error.Kind);
        Assert.All(
            new[] { "unix:///run/docker.sock", "usermod -aG docker", "DOCKER_HOST" },
            word => Assert.Contains(word, error.Message, StringComparison.Ordinal));
    }

    [Fact]
    public async Task An_engine_that_says_nothing()
    {
        Proxy.With("GET */info", EngineFault.Stall, int.MaxValue);
        await FailsAsync(
            () => ConnectAsync(Quick with { AnswerTimeout = TimeSpan.FromMilliseconds(100) }),
            "DockerEngineStalled", Proxy.Address.ToString(), "info", "asked 3 times", "restart it");
    }

    [Theory]
    [InlineData("Reset")]
    [InlineData("Garbage")]
    public async Task An_engine_that_breaks_off(string fault)
    {
        Proxy.With("GET */info", Enum.Parse<EngineFault>(fault), int.MaxValue);
        var error = await FailsAsync(
            () => ConnectAsync(), "DockerConnectionLost", Proxy.Address.ToString(), "info, tried 3 times", "engine's log");
        Assert.IsType<ArchAzureException>(error);
        Assert.Equal(2, Reporter.Details.Count);
    }

    [Theory]
    [InlineData("Reset")]
    [InlineData("Garbage")]
    [InlineData("ServerError")]
    public async Task An_engine_that_errs_twice_and_then_answers(string fault)
    {
        Proxy.With("GET */info", Enum.Parse<EngineFault>(fault), 2);
        Assert.Equal("28.0.0", (await ConnectAsync()).Version);
        Assert.Equal(2, Reporter.Details.Count);
        Assert.Contains("Docker engine, info: ", Reporter.Details.First(), StringComparison.Ordinal);
        Assert.Contains("; attempt 3 of 3 in ", Reporter.Details.Last(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_engine_that_answers_with_an_error_need_not_be_started()
    {
        Proxy.With("GET */info", EngineFault.ServerError, int.MaxValue);
        var error = await FailsAsync(
            () => ConnectAsync(),
            "DockerEngineNotFound", Proxy.Address.ToString(), "answers with an error", "something went wrong", "See its log");
        Assert.DoesNotContain("systemctl start", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_import_makes_an_image_with_its_labels()
    {
        var docker = await ConnectAsync();
        Assert.False(await docker.ImageExistsAsync(Image, default));
        Assert.Null(await docker.ImageLabelsAsync(Image, default));
        Assert.Empty(await docker.ImageNamesAsync(Image, default));

        await ImportAsync(docker, "content");

        Assert.True(await docker.ImageExistsAsync(Image, default));
        Assert.Equal(s_labels, await docker.ImageLabelsAsync(Image, default));
        Assert.Equal([Image], await docker.ImageNamesAsync(Image, default));
    }

    [Fact]
    public async Task The_claims_go_over_to_an_image_made_again_and_the_nameless_old_one_goes()
    {
        var docker = await ConnectAsync();
        await ImportAsync(docker, "old");
        await docker.ClaimImageAsync(Image, Claim, default);

        await ImportAsync(docker, "new");

        var image = Assert.Single(Engine.Images);
        Assert.Equal([Image, Claim], image.Names.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task An_old_image_with_another_name_than_a_claim_stays()
    {
        var docker = await ConnectAsync();
        Engine.AddImage(Image, Claim, "mine:kept");

        await ImportAsync(docker, "new");

        Assert.Equal(
            ["archazure/bootstrap:2026.11.01 archazure/build:1-bootstrap", "mine:kept"],
            Engine.Images.Select(image => string.Join(' ', image.Names.Order(StringComparer.Ordinal))).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task An_old_image_on_which_another_stands_is_left_to_the_engine()
    {
        var docker = await ConnectAsync();
        Engine.AddImage(Image).HasChildren = true;

        await ImportAsync(docker, "new");

        Assert.Equal(2, Engine.Images.Count);
        Assert.Equal(1, Asked("DELETE /images/*"));
        Assert.Equal([Image], await docker.ImageNamesAsync(Image, default));
    }

    [Fact]
    public async Task An_image_made_again_as_it_was_stays()
    {
        var docker = await ConnectAsync();
        await ImportAsync(docker, "same");
        await ImportAsync(docker, "same");
        Assert.Equal([Image], Assert.Single(Engine.Images).Names);
        Assert.Equal(0, Asked("DELETE *"));
    }

    [Fact]
    public async Task A_claim_that_moves_on_takes_the_image_it_alone_held_along()
    {
        var docker = await ConnectAsync();
        var image = Engine.AddImage(Image);
        Engine.AddImage(Claim);

        await docker.ClaimImageAsync(Image, Claim, default);
        Assert.Equal([Image, Claim], Assert.Single(Engine.Images).Names);
        Assert.Same(image, Engine.Images[0]);

        // Done already, or nothing to do.
        var before = Asked("*images*");
        await docker.ClaimImageAsync(Image, Claim, default);
        await docker.ClaimImageAsync("archazure/none:1", Claim, default);
        Assert.Equal(before + 4, Asked("*images*"));
        Assert.Equal([Image, Claim], Assert.Single(Engine.Images).Names);
    }

    [Fact]
    public void Only_names_of_the_claims_repository_are_claims()
    {
        Assert.True(DockerEngine.IsClaim(Claim));
        Assert.False(DockerEngine.IsClaim("archazure/builder:1"));
        Assert.Equal(("localhost:5000/archazure/x", "1"), DockerEngine.SplitImage("localhost:5000/archazure/x:1"));
    }

    [Fact]
    public async Task Images_are_found_by_the_start_of_their_tag()
    {
        var docker = await ConnectAsync();
        Engine.AddImage("archazure/build:1-bootstrap", "archazure/builder:1-x");
        Engine.AddImage("archazure/build:2-bootstrap");
        Engine.AddImage("archazure/build:1-builder");
        Assert.Equal(
            ["archazure/build:1-bootstrap", "archazure/build:1-builder"], await docker.FindImagesAsync("archazure/build", "1-", default));
        Assert.True(await docker.RemoveImageAsync("archazure/build:1-builder", default));
        Assert.False(await docker.RemoveImageAsync("archazure/build:1-builder", default));
        Assert.Equal(2, Engine.Images.Count);
    }

    [Fact]
    public async Task An_engine_without_room_is_named_with_its_folder()
    {
        var docker = await ConnectAsync();
        Engine.NoRoom = "write /layer.tar: no space left on device.";
        await FailsAsync(
            () => ImportAsync(docker, "content"),
            "ImageImportFailed", Image, "no space left on device", "/fake/docker", "run the step again");
        Assert.Empty(Engine.Images);
    }

    [Theory]
    [InlineData("Reset", 2, 0)]
    [InlineData("ServerError", 2, 0)]
    [InlineData("AnswerLost", 1, 1)]
    public async Task An_import_that_goes_wrong_is_done_from_the_beginning(string fault, int times, int seen)
    {
        var docker = await ConnectAsync();
        Proxy.With("POST */images/create", Enum.Parse<EngineFault>(fault), times);
        var writes = 0;
        await docker.ImportImageAsync(
            Image,
            async (stream, token) =>
            {
                writes++;
                await stream.WriteAsync("content"u8.ToArray(), token);
            },
            s_labels,
            default);
        Assert.Equal(times + 1, writes);
        Assert.Equal(seen + 1, Asked("POST /images/create"));
        Assert.Equal(s_labels, await docker.ImageLabelsAsync(Image, default));
    }

    [Theory]
    [InlineData("Reset", "the connection broke off")]
    [InlineData("ServerError", "something went wrong")]
    public async Task An_import_that_always_goes_wrong(string fault, string reason)
    {
        var docker = await ConnectAsync();
        Proxy.With("POST */images/create", Enum.Parse<EngineFault>(fault), int.MaxValue);
        await FailsAsync(() => ImportAsync(docker, "content"), "ImageImportFailed", Image, reason, "/fake/docker", "run the step again");
    }

    [Fact]
    public async Task An_import_of_which_nothing_is_taken()
    {
        var docker = await ConnectAsync(
            Quick with { WatchInterval = TimeSpan.FromMilliseconds(50), ImportSilence = TimeSpan.FromMilliseconds(200) });
        Proxy.With("POST */images/create", EngineFault.Stall, int.MaxValue);
        await FailsAsync(() => ImportAsync(docker, "content"), "DockerEngineStalled", $"import {Image}", "has taken no byte", "restart it");
    }

    [Fact]
    public async Task The_archives_own_error_is_the_one_that_is_told()
    {
        var docker = await ConnectAsync();
        var error = new ArchAzureException("CorruptArchive", ErrorKind.InvalidData, "The archive ends in the middle.", "a.tar");
        Assert.Same(error, await Assert.ThrowsAsync<ArchAzureException>(() => docker.ImportImageAsync(
            Image,
            async (stream, token) =>
            {
                await stream.WriteAsync(new byte[100_000], token);
                throw error;
            },
            s_labels,
            default)));
        Assert.Empty(Engine.Images);
    }

    [Fact]
    public async Task A_killed_run_leaves_builders_but_a_machine_may_still_run()
    {
        var docker = await ConnectAsync();
        Add(BuildId, machine: false, "running");
        Add(BuildId, machine: false, "exited");
        var running = Add(BuildId, machine: true, "running", TimeSpan.FromHours(1));
        var starting = Add(BuildId, machine: true, "created");
        Add(BuildId, machine: true, "exited", TimeSpan.FromHours(1));
        var other = Add(Guid.NewGuid(), machine: false, "running");
        Engine.Volumes.Add("left", new() { [DockerEngine.BuildLabel] = $"{BuildId}" });
        Engine.Volumes.Add("mine", []);

        Assert.Equal(3, await docker.RemoveLeftoversAsync(BuildId, default));

        Assert.Equal([running, starting, other], Engine.Containers);
        Assert.Equal(["mine"], Engine.Volumes.Keys);
        Assert.Equal(2, await docker.RemoveContainersAsync(BuildId, default));
        Assert.Equal([other], Engine.Containers);
    }

    [Fact]
    public async Task Ended_machines_are_removed_without_the_lock_and_no_builder()
    {
        var docker = await ConnectAsync();
        var builder = Add(BuildId, machine: false, "running");
        var running = Add(BuildId, machine: true, "running", TimeSpan.FromHours(1));
        Add(BuildId, machine: true, "exited", TimeSpan.FromHours(1));
        Assert.Equal(1, await docker.RemoveEndedMachinesAsync(BuildId, default));
        Assert.Equal([builder, running], Engine.Containers);
    }

    [Theory]
    [InlineData("ServerError", 1)]
    [InlineData("AnswerLost", 2)]
    public async Task A_removal_is_repeated_and_what_is_gone_already_is_no_error(string fault, int asked)
    {
        var docker = await ConnectAsync();
        Add(BuildId, machine: false, "running");
        Proxy.With("DELETE */containers/*", Enum.Parse<EngineFault>(fault));
        Assert.Equal(1, await docker.RemoveContainersAsync(BuildId, default));
        Assert.Empty(Engine.Containers);
        Assert.Equal(asked, Asked("DELETE /containers/*"));
    }

    private static Task ImportAsync(DockerEngine docker, string content) =>
        docker.ImportImageAsync(
            Image, (stream, token) => stream.WriteAsync(System.Text.Encoding.ASCII.GetBytes(content), token).AsTask(), s_labels, default);

    [Fact]
    public async Task A_container_whose_removal_is_under_way_is_waited_for()
    {
        var docker = await ConnectAsync();
        var container = Add(BuildId, machine: false, "removing");
        var removing = docker.RemoveContainersAsync(BuildId, default);
        while (Asked("GET /containers/*/json") < 2)
        {
            Assert.False(removing.IsCompleted);
            await Task.Delay(5);
        }

        Engine.End(container);
        Assert.Equal(1, await removing);
    }

    [Fact]
    public async Task A_removal_that_does_not_end_is_noted()
    {
        var docker = await ConnectAsync(Quick with { CleanUpTimeout = TimeSpan.FromMilliseconds(100) });
        var container = Add(BuildId, machine: false, "removing");
        await docker.RemoveContainersAsync(BuildId, default);
        Assert.Contains(
            Reporter.Details, detail => detail.Contains($"container {container.Id} is still being removed", StringComparison.Ordinal));
    }

    private FakeContainer Add(Guid build, bool machine, string state, TimeSpan age = default)
    {
        var labels = new Dictionary<string, string>(StringComparer.Ordinal) { [DockerEngine.BuildLabel] = $"{build}" };
        if (machine)
        {
            labels[DockerEngine.MachineLabel] = $"{build}";
        }

        return Engine.AddContainer(labels, state, age);
    }
}
