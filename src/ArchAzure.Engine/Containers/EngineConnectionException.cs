using System.Net.Sockets;
using Docker.DotNet;

namespace ArchAzure.Containers;

/// <summary>The connection to the Docker engine could not be made, or broke off.</summary>
internal sealed class EngineConnectionException : ArchAzureException
{
    private EngineConnectionException(string errorId, ErrorKind kind, string message, string endpoint, Exception cause, bool notThere)
        : base(errorId, kind, message, endpoint, cause)
    {
        NotThere = notThere;
    }

    /// <summary>Whether there is no engine, or none that this user may use: asking again is of no use.</summary>
    public bool NotThere { get; }

    /// <summary>Names what is wrong with the connection.</summary>
    public static EngineConnectionException From(string endpoint, string what, int attempts, Exception cause) =>
        IsNotThere(cause)
            ? NotFound(endpoint, cause)
            : new EngineConnectionException(
                "DockerConnectionLost",
                ErrorKind.ConnectionError,
                $"The connection to the Docker engine at {endpoint} broke off ({what}{(attempts > 1 ? $", tried {attempts} times" : "")}): "
                + $"{Reason(endpoint, cause)}. See the engine's log, and run the step again.",
                endpoint,
                cause,
                notThere: false);

    /// <summary>The error of an engine that is not there or may not be used.</summary>
    public static EngineConnectionException NotFound(string endpoint, Exception cause) =>
        Chain(cause).Any(IsDenied)
            ? new EngineConnectionException(
                "DockerPermissionDenied",
                ErrorKind.PermissionDenied,
                $"You may not use the Docker engine at {endpoint}. Have your user added to the group 'docker' "
                + "(sudo usermod -aG docker $USER) and log in again, or name your own engine in DOCKER_HOST.",
                endpoint,
                cause,
                notThere: true)
            : new EngineConnectionException(
                "DockerEngineNotFound",
                ErrorKind.ConnectionError,
                cause is DockerApiException
                    ? $"The Docker engine at {endpoint} answers with an error: {Reason(endpoint, cause)}. "
                      + "See its log and restart it if need be, or name another engine in DOCKER_HOST."
                    : $"No Docker engine answers at {endpoint}: {Reason(endpoint, cause)}. "
                      + "Start Docker (e.g. sudo systemctl start docker), or name a running engine in DOCKER_HOST.",
                endpoint,
                cause,
                notThere: true);

    /// <summary>What the system says, without a full stop; of a socket that is not there it says something else.</summary>
    private static string Reason(string endpoint, Exception cause) =>
        cause.GetBaseException() is SocketException { SocketErrorCode: SocketError.AddressNotAvailable }
        && endpoint.StartsWith("unix:", StringComparison.Ordinal)
            ? "there is no such socket"
            : cause.GetBaseException().Message.TrimEnd('.');

    /// <summary>Whether an error says that nobody listens, as against a connection that was made and broke off.</summary>
    public static bool IsNotThere(Exception e) => Chain(e).Any(cause =>
        IsDenied(cause)
        || cause is SocketException
        {
            SocketErrorCode: SocketError.ConnectionRefused or SocketError.AddressNotAvailable or SocketError.HostNotFound
                or SocketError.NoData or SocketError.HostUnreachable or SocketError.NetworkUnreachable
                or SocketError.AddressFamilyNotSupported
        });

    private static bool IsDenied(Exception e) =>
        e is UnauthorizedAccessException or SocketException { SocketErrorCode: SocketError.AccessDenied };

    private static IEnumerable<Exception> Chain(Exception cause)
    {
        for (var e = cause; e is not null; e = e.InnerException)
        {
            yield return e;
        }
    }
}
