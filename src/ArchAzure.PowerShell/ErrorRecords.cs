using System.Management.Automation;

namespace ArchAzure.PowerShell;

/// <summary>Error records of the engine's errors: the same stable id, a true category, the thing it is about.</summary>
internal static class ErrorRecords
{
    public static ErrorRecord From(ArchAzureException error) =>
        new(error, error.ErrorId, Category(error.Kind), error.Target) { ErrorDetails = new ErrorDetails(error.Message) };

    private static ErrorCategory Category(ErrorKind kind) => kind switch
    {
        ErrorKind.InvalidInput => ErrorCategory.InvalidArgument,
        ErrorKind.NotFound => ErrorCategory.ObjectNotFound,
        ErrorKind.PermissionDenied => ErrorCategory.PermissionDenied,
        ErrorKind.ResourceBusy => ErrorCategory.ResourceBusy,
        ErrorKind.ResourceUnavailable => ErrorCategory.ResourceUnavailable,
        ErrorKind.ConnectionError => ErrorCategory.ConnectionError,
        ErrorKind.InvalidData => ErrorCategory.InvalidData,
        _ => ErrorCategory.InvalidResult,
    };
}
