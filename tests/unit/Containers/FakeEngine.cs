using System.Collections.Concurrent;
using System.Globalization;
using System.IO.Enumeration;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Web;

namespace ArchAzure.UnitTests.Containers;

/// <summary>
/// A Docker engine without a kernel: it speaks what the product asks of the Engine API, with its status codes and messages, and keeps its
/// state in collections. What goes wrong on the way to an engine is <see cref="EngineProxy"/>'s part.
/// </summary>
internal sealed class FakeEngine : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly CancellationTokenSource _stop = new();
    private readonly object _gate = new();
    private readonly ConcurrentDictionary<string, FakeCommand> _commands = new(StringComparer.Ordinal);
    private int _number;

    public FakeEngine()
    {
        _listener.Bind(new UnixDomainSocketEndPoint(Socket));
        _listener.Listen(64);
        _ = AcceptAsync();
    }

    public string Socket => _folder["fake.sock"];

    public Uri Address => new($"unix://{Socket}");

    /// <summary>The newest version of the API it speaks.</summary>
    public Version ApiVersion { get; set; } = new(1, 50);

    public IReadOnlyList<string> SecurityOptions { get; set; } = ["name=seccomp,profile=builtin"];

    public List<FakeImage> Images { get; } = [];

    public List<FakeContainer> Containers { get; } = [];

    /// <summary>The containers that were there, also those that are gone.</summary>
    public List<FakeContainer> AllContainers { get; } = [];

    /// <summary>The volumes, by name, and their labels.</summary>
    public Dictionary<string, Dictionary<string, string>> Volumes { get; } = new(StringComparer.Ordinal);

    /// <summary>What was asked of it: method and path, without version and query.</summary>
    public ConcurrentQueue<string> Requests { get; } = new();

    /// <summary>What a command does, and the status it ends with.</summary>
    public Func<FakeCommand, Task<int>> OnCommand { get; set; } = async command =>
    {
        await command.Input.CopyToAsync(Stream.Null);
        return 0;
    };

    /// <summary>Where the product's command server and its commands really run; null where they are <see cref="OnCommand"/>'s.</summary>
    public string? ProgramFolder { get; set; }

    /// <summary>Whether it drops what programs that really run write.</summary>
    public bool IsMute { get; set; }

    /// <summary>What it says in place of an image that it cannot store; null for none.</summary>
    public string? NoRoom { get; set; }

    /// <summary>What it says in place of starting a container; null for none.</summary>
    public string? StartRefused { get; set; }

    public FakeImage AddImage(params string[] names)
    {
        var image = new FakeImage(NewId("sha256:"));
        image.Names.AddRange(names);
        Images.Add(image);
        return image;
    }

    public FakeContainer AddContainer(Dictionary<string, string> labels, string state = "running", TimeSpan age = default)
    {
        var created = DateTimeOffset.UtcNow - age;
        var container = new FakeContainer(NewId(), $"left{_number}", "none", labels) { State = state, Created = created };
        Containers.Add(container);
        return container;
    }

    /// <summary>Ends a container's main process; the engine removes the container with its volumes.</summary>
    public void End(FakeContainer container)
    {
        lock (_gate)
        {
            container.State = "exited";
            Containers.Remove(container);
            container.Volumes.ForEach(volume => Volumes.Remove(volume));
            container.Ended.TrySetResult();
        }
    }

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Dispose();
        _folder.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                _ = ServeAsync(await _listener.AcceptAsync(_stop.Token));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or SocketException)
        {
            // The test is over.
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        await using var answer = new NetworkStream(socket, ownsSocket: true);
        await using var request = new BufferedStream(answer);
        try
        {
            var head = await FakeRequest.ReadAsync(request, _stop.Token);
            Requests.Enqueue($"{head.Method} {head.Path}");
            try
            {
                Require(head.ApiVersion is null || head.ApiVersion <= ApiVersion, 400, $"client version {head.ApiVersion} is too new");
                switch (head.Method, head.Words)
                {
                    case ("POST", ["images", "create"]):
                        await ImportAsync(head, request, answer);
                        break;
                    case ("POST", ["containers", var id, "attach"]):
                        await AttachAsync(Container(id), request, answer);
                        break;
                    case ("POST", ["containers", var id, "wait"]):
                        await Container(id).Ended.Task.WaitAsync(_stop.Token);
                        await JsonAsync(answer, 200, new { StatusCode = 137 });
                        break;
                    case ("POST", ["exec", var id, "start"]):
                        await head.BodyAsync(request, _stop.Token);
                        await RunAsync(_commands[id], request, answer);
                        break;
                    default:
                        var body = await head.BodyAsync(request, _stop.Token);
                        var (status, content) = Locked(
                            () => Answer(head, body.Length == 0 ? default : JsonDocument.Parse(body).RootElement));
                        await JsonAsync(answer, status, content);
                        break;
                }
            }
            catch (Refusal e)
            {
                await JsonAsync(answer, e.Status, new { message = e.Message });
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or SocketException or ObjectDisposedException)
        {
            // The client has gone, or the test is over.
        }
    }

    private (int Status, object? Content) Answer(FakeRequest request, JsonElement body)
    {
        switch (request.Method, request.Words)
        {
            case ("GET", ["_ping"]):
                return (200, "OK");
            case ("GET", ["version"]):
                return (200, new { ApiVersion = $"{ApiVersion}", Version = "28.0.0" });
            case ("GET", ["info"]):
                return (
                    200, new { ServerVersion = "28.0.0", OperatingSystem = "Fake Linux", DockerRootDir = "/fake/docker", SecurityOptions });

            case ("GET", ["images", "json"]):
                return (200, Images.Where(
                    image => image.Names.Exists(name => FileSystemName.MatchesSimpleExpression(request.Filter("reference"), name)))
                    .Select(image => new { image.Id, RepoTags = image.Names }).ToList());
            case ("GET", ["images", .. var name, "json"]):
                var shown = Image(name);
                return (200, new { shown.Id, RepoTags = shown.Names, Config = new { shown.Labels } });
            case ("POST", ["images", .. var name, "tag"]):
                Name(Image(name), request.Query["repo"]!, request.Query["tag"]!);
                return (201, null);
            case ("DELETE", ["images", .. var name]):
                RemoveImage(string.Join('/', name));
                return (200, Array.Empty<object>());
            case ("POST", ["commit"]):
                Require(NoRoom is null, 500, NoRoom!);
                Container(request.Query["container"]!);
                return (201, new { StoreImage(request, NewId("sha256:")).Id });

            case ("GET", ["containers", "json"]):
                return (200, Containers.Where(container => HasLabel(container.Labels, request)).Select(container => new
                {
                    container.Id, Names = new[] { "/" + container.Name }, container.Labels, container.State,
                    Created = container.Created.ToUnixTimeSeconds(),
                }).ToList());
            case ("POST", ["containers", "create"]):
                return (201, new { Create(request.Query["name"]!, body).Id, Warnings = Array.Empty<string>() });
            case ("POST", ["containers", var id, "start"]):
                Require(StartRefused is null, 400, StartRefused!);
                Container(id).State = "running";
                return (204, null);
            case ("GET", ["containers", var id, "json"]):
                return (
                    200,
                    new { Container(id).Id, Config = new { Tty = false }, State = new { Running = Container(id).State == "running" } });
            case ("DELETE", ["containers", var id]):
                Require(Container(id).State != "removing", 409, $"removal of container {id} is already in progress");
                End(Container(id));
                return (204, null);

            case ("POST", ["containers", var id, "exec"]):
                Require(Container(id).State == "running", 409, $"container {id} is not running");
                var command = new FakeCommand(
                    Container(id), Strings(body, "Cmd"), Strings(body, "Env"), body.GetProperty("AttachStdin").GetBoolean());
                var execId = NewId();
                _commands[execId] = command;
                return (201, new { Id = execId });
            case ("GET", ["exec", var id, "json"]):
                Require(Containers.Contains(_commands[id].Container), 404, $"No such exec instance: {id}");
                return (200, new
                {
                    ID = id, Running = _commands[id].ExitCode is null, ExitCode = _commands[id].ExitCode ?? 0,
                    ProcessConfig = new { tty = false },
                });

            case ("GET", ["volumes"]):
                var volumes = Volumes.Where(volume => HasLabel(volume.Value, request)).Select(volume => new { Name = volume.Key });
                return (200, new { Volumes = volumes.ToList() });
            case ("DELETE", ["volumes", var name]):
                Require(Volumes.Remove(name), 404, $"get {name}: no such volume");
                return (204, null);
            default:
                throw new Refusal(404, "page not found");
        }
    }

    private FakeContainer Create(string name, JsonElement body)
    {
        var image = body.GetProperty("Image").GetString()!;
        Require(Images.Exists(known => known.Is(image)), 404, $"No such image: {image}");
        Require(!Containers.Exists(other => other.Name == name), 409, $"Conflict. The container name \"/{name}\" is already in use");
        var container = new FakeContainer(NewId(), name, image, Labels(body)) { Parameters = body };
        foreach (var mount in body.GetProperty("HostConfig").TryGetProperty("Mounts", out var mounts) ? mounts.EnumerateArray() : [])
        {
            if (mount.GetProperty("Type").GetString() == "volume")
            {
                container.Volumes.Add(NewId());
                Volumes.Add(container.Volumes[^1], Labels(mount.GetProperty("VolumeOptions")));
                continue;
            }

            var source = mount.GetProperty("Source").GetString();
            Require(Path.Exists(source), 400, $"invalid mount config for type \"bind\": bind source path does not exist: {source}");
        }

        Containers.Add(container);
        AllContainers.Add(container);
        return container;
    }

    /// <summary>The main process reads its input: the container ends with it.</summary>
    private async Task AttachAsync(FakeContainer container, Stream request, NetworkStream answer)
    {
        await UpgradeAsync(answer);
        await request.CopyToAsync(Stream.Null, _stop.Token);
        End(container);
    }

    private async Task RunAsync(FakeCommand command, Stream request, NetworkStream answer)
    {
        await UpgradeAsync(answer);
        command.Open(request, answer);
        command.ExitCode = command.Words is ["bash", "-c", var script] && script.Contains("mapfile", StringComparison.Ordinal)
            ? await (ProgramFolder is null ? ServeCommandsAsync(command, answer) : RunProgramAsync(command, script))
            : await OnCommand(command);

        // The engine takes what the command has left of its input: to close a socket with something unread in it resets the connection.
        answer.Socket.Shutdown(SocketShutdown.Send);
        await request.CopyToAsync(Stream.Null, _stop.Token);
    }

    /// <summary>What the product's command server does, with commands of this engine.</summary>
    private async Task<int> ServeCommandsAsync(FakeCommand server, NetworkStream answer)
    {
        while (await FakeRequest.LineAsync(server.Input, _stop.Token) is { Length: > 0 } line)
        {
            var numbers = line.Split(' ');
            List<string> words = [];
            while (words.Count < int.Parse(numbers[1], CultureInfo.InvariantCulture))
            {
                words.Add(await FakeRequest.LineAsync(server.Input, _stop.Token, '\0'));
            }

            var input = await FakeRequest.BytesAsync(server.Input, int.Parse(numbers[2], CultureInfo.InvariantCulture), _stop.Token);
            var environment = words.Skip(1).TakeWhile(word => word.Contains('=', StringComparison.Ordinal)).ToList();
            var command = new FakeCommand(server.Container, words[(1 + environment.Count)..], environment, input.Length > 0);
            command.Open(new MemoryStream(input), answer);
            var status = await OnCommand(command);
            await command.WriteAsync($"\0{numbers[0]} {status}\n");
            await command.WriteAsync($"\0{numbers[0]} {status}\n", error: true);
        }

        return 0;
    }

    /// <summary>Really runs a program, on this machine, with its files in <see cref="ProgramFolder"/>.</summary>
    private async Task<int> RunProgramAsync(FakeCommand command, string script)
    {
        var start = new System.Diagnostics.ProcessStartInfo("bash")
        {
            UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
            ArgumentList = { "-c", script.Replace("/run/", $"{ProgramFolder}/", StringComparison.Ordinal) },
        };
        using var process = System.Diagnostics.Process.Start(start)!;
        var output = Task.WhenAll(
            SendAsync(process.StandardOutput.BaseStream, error: false), SendAsync(process.StandardError.BaseStream, error: true));
        try
        {
            var buffer = new byte[4096];
            while (await command.Input.ReadAsync(buffer, _stop.Token) is > 0 and var count)
            {
                await process.StandardInput.BaseStream.WriteAsync(buffer.AsMemory(0, count), _stop.Token);
                await process.StandardInput.BaseStream.FlushAsync(_stop.Token);
            }
        }
        finally
        {
            process.StandardInput.Close();
        }

        await output;
        await process.WaitForExitAsync(_stop.Token);
        return process.ExitCode;

        async Task SendAsync(Stream stream, bool error)
        {
            var buffer = new byte[4096];
            while (await stream.ReadAsync(buffer, _stop.Token) is > 0 and var count)
            {
                await (IsMute ? Task.CompletedTask : command.WriteAsync(buffer[..count], error));
            }
        }
    }

    /// <summary>It says 200 before it reads: what goes wrong then comes as a message.</summary>
    private async Task ImportAsync(FakeRequest head, Stream request, NetworkStream answer)
    {
        await HeadAsync(answer, 200);
        var tar = await head.BodyAsync(request, _stop.Token);
        var message = NoRoom is null
            ? (object)new { status = Locked(() => StoreImage(head, "sha256:" + Convert.ToHexStringLower(SHA256.HashData(tar)))).Id }
            : new { error = NoRoom, errorDetail = new { message = NoRoom } };
        await JsonSerializer.SerializeAsync(answer, message, cancellationToken: _stop.Token);
    }

    private FakeImage StoreImage(FakeRequest request, string id)
    {
        var image = Images.Find(known => known.Id == id) ?? new FakeImage(id);
        foreach (var change in request.Query.GetValues("changes") ?? [])
        {
            var label = change["LABEL ".Length..].Split('=', 2);
            image.Labels[label[0]] = label[1];
        }

        Images.Remove(image);
        Images.Add(image);
        Name(image, request.Query["repo"]!, request.Query["tag"]!);
        return image;
    }

    private void Name(FakeImage image, string repository, string tag)
    {
        Images.ForEach(other => other.Names.Remove($"{repository}:{tag}"));
        image.Names.Add($"{repository}:{tag}");
    }

    private void RemoveImage(string name)
    {
        var image = Image([name]);
        if (image.Names.Remove(name) && image.Names.Count > 0)
        {
            return;
        }

        Require(
            image.Names.Count <= 1, 409, $"unable to delete {image.Id} (must be forced) - image is referenced in multiple repositories");
        Require(!image.HasChildren, 409, $"unable to delete {image.Id} (cannot be forced) - image has dependent child images");
        Images.Remove(image);
    }

    private FakeImage Image(string[] words)
    {
        var name = string.Join('/', words);
        return Images.Find(image => image.Is(name)) ?? throw new Refusal(404, $"No such image: {name}");
    }

    private FakeContainer Container(string id) =>
        Containers.Find(container => container.Id == id || container.Name == id) ?? throw new Refusal(404, $"No such container: {id}");

    private string NewId(string start = "") =>
        start + Convert.ToHexStringLower(SHA256.HashData(BitConverter.GetBytes(Interlocked.Increment(ref _number))));

    private T Locked<T>(Func<T> work)
    {
        lock (_gate)
        {
            return work();
        }
    }

    private static void Require(bool condition, int status, string message)
    {
        if (!condition)
        {
            throw new Refusal(status, message);
        }
    }

    private static bool HasLabel(Dictionary<string, string> labels, FakeRequest request) =>
        labels.Any(label => $"{label.Key}={label.Value}" == request.Filter("label"));

    private static Dictionary<string, string> Labels(JsonElement element) =>
        element.TryGetProperty("Labels", out var labels) ? labels.Deserialize<Dictionary<string, string>>()! : [];

    private static List<string> Strings(JsonElement element, string name) =>
        element.TryGetProperty(name, out var strings) ? strings.Deserialize<List<string>>()! : [];

    private async Task UpgradeAsync(Stream answer)
    {
        // 1.42 and later name the kind of the stream.
        var kind = ApiVersion >= new Version(1, 42) ? "multiplexed" : "raw";
        await WriteAsync(
            answer,
            $"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.{kind}-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
    }

    private async Task JsonAsync(Stream answer, int status, object? content)
    {
        await HeadAsync(answer, status);
        if (content is not null)
        {
            await JsonSerializer.SerializeAsync(answer, content, cancellationToken: _stop.Token);
        }
    }

    private Task HeadAsync(Stream answer, int status) =>
        WriteAsync(
            answer, $"HTTP/1.1 {status} Fake\r\nApi-Version: {ApiVersion}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n");

    private async Task WriteAsync(Stream answer, string text) => await answer.WriteAsync(Encoding.ASCII.GetBytes(text), _stop.Token);

    /// <summary>An answer that says no.</summary>
    private sealed class Refusal(int status, string message) : Exception(message)
    {
        public int Status { get; } = status;
    }
}

internal sealed record FakeImage(string Id)
{
    public List<string> Names { get; } = [];

    public Dictionary<string, string> Labels { get; } = new(StringComparer.Ordinal);

    public bool HasChildren { get; set; }

    public bool Is(string name) => Id == name || Names.Contains(name);
}

internal sealed record FakeContainer(string Id, string Name, string Image, Dictionary<string, string> Labels)
{
    public string State { get; set; } = "created";

    public DateTimeOffset Created { get; init; } = DateTimeOffset.UtcNow;

    /// <summary>What it was made with.</summary>
    public JsonElement Parameters { get; init; }

    public List<string> Volumes { get; } = [];

    public TaskCompletionSource Ended { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
}

/// <summary>A command in a container, and both ends of its streams.</summary>
internal sealed record FakeCommand(FakeContainer Container, IReadOnlyList<string> Words, IReadOnlyList<string> Environment, bool HasInput)
{
    private Stream? _answer;

    /// <summary>Its status, when it has ended.</summary>
    public int? ExitCode { get; set; }

    public Stream Input { get; private set; } = Stream.Null;

    public void Open(Stream input, Stream answer) => (Input, _answer) = (HasInput ? input : Stream.Null, answer);

    public Task WriteAsync(string text, bool error = false) => WriteAsync(Encoding.UTF8.GetBytes(text), error);

    /// <summary>Sends some output, as one frame: the number of the stream, and the length with its highest byte first.</summary>
    public async Task WriteAsync(byte[] bytes, bool error = false)
    {
        var head = new byte[8];
        head[0] = error ? (byte)2 : (byte)1;
        System.Buffers.Binary.BinaryPrimitives.WriteInt32BigEndian(head.AsSpan(4), bytes.Length);
        await _answer!.WriteAsync((byte[])[.. head, .. bytes]);
    }
}

/// <summary>The head of a request.</summary>
internal sealed record FakeRequest(string Method, Version? ApiVersion, string Path, string QueryText, Dictionary<string, string> Headers)
{
    public string[] Words { get; } = [.. Path.Split('/', StringSplitOptions.RemoveEmptyEntries).Select(Uri.UnescapeDataString)];

    public System.Collections.Specialized.NameValueCollection Query { get; } = HttpUtility.ParseQueryString(QueryText);

    public static async Task<FakeRequest> ReadAsync(Stream stream, CancellationToken cancellationToken)
    {
        var first = (await LineAsync(stream, cancellationToken)).Split(' ');
        var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        while (await LineAsync(stream, cancellationToken) is { Length: > 0 } line)
        {
            headers[line[..line.IndexOf(':')]] = line[(line.IndexOf(':') + 1)..].Trim();
        }

        var target = first[1].Split('?', 2);
        var versioned = target[0].StartsWith("/v1.", StringComparison.Ordinal);
        var words = target[0].Split('/', 3);
        return new FakeRequest(
            first[0],
            versioned ? Version.Parse(words[1][1..]) : null,
            versioned ? "/" + words[2] : target[0],
            target.ElementAtOrDefault(1) ?? "",
            headers);
    }

    /// <summary>The one value of a filter: <c>{"label":{"VALUE":true}}</c>.</summary>
    public string Filter(string name) =>
        JsonDocument.Parse(Query["filters"]!).RootElement.GetProperty(name).EnumerateObject().Single().Name;

    public async Task<byte[]> BodyAsync(Stream stream, CancellationToken cancellationToken)
    {
        if (!Headers.GetValueOrDefault("Transfer-Encoding", "").Contains("chunked", StringComparison.Ordinal))
        {
            return await BytesAsync(
                stream, int.Parse(Headers.GetValueOrDefault("Content-Length", "0"), CultureInfo.InvariantCulture), cancellationToken);
        }

        using var body = new MemoryStream();
        while (Convert.ToInt32(await LineAsync(stream, cancellationToken), 16) is > 0 and var length)
        {
            body.Write(await BytesAsync(stream, length, cancellationToken));
            await LineAsync(stream, cancellationToken);
        }

        await LineAsync(stream, cancellationToken);
        return body.ToArray();
    }

    internal static async Task<byte[]> BytesAsync(Stream stream, int length, CancellationToken cancellationToken)
    {
        var bytes = new byte[length];
        await stream.ReadExactlyAsync(bytes, cancellationToken);
        return bytes;
    }

    internal static async Task<string> LineAsync(Stream stream, CancellationToken cancellationToken, char end = '\n')
    {
        var line = new StringBuilder();
        while (true)
        {
            var letter = (char)(await BytesAsync(stream, 1, cancellationToken))[0];
            if (letter == end)
            {
                return line.ToString();
            }

            if (letter != '\r')
            {
                line.Append(letter);
            }
        }
    }
}
