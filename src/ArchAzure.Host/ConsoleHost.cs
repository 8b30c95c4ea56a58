using System.Collections;
using System.Globalization;
using System.Management.Automation;
using System.Management.Automation.Host;

namespace ArchAzure.Host;

/// <summary>What passes between this program and the script it runs, as <c>$Host.PrivateData</c>.</summary>
public sealed class HostState
{
    /// <summary>Whether the last statement of <c>-Command</c> succeeded.</summary>
    public bool Succeeded { get; set; } = true;

    /// <summary>The script of <c>-File</c>.</summary>
    public string? File { get; set; }

    /// <summary>Its arguments of the form <c>-Name:value</c>.</summary>
    public Hashtable? NamedArguments { get; set; }
}

/// <summary>The engine's view of this program.</summary>
internal sealed class ConsoleHost(UserInterface userInterface) : PSHost
{
    /// <summary>What the script said with <c>exit N</c>, or null.</summary>
    public int? ExitCode { get; private set; }

    public HostState State { get; } = new();

    public override PSObject PrivateData => PSObject.AsPSObject(State);

    public override string Name => "ArchAzureHost";

    public override Version Version { get; } = typeof(ConsoleHost).Assembly.GetName().Version!;

    public override Guid InstanceId { get; } = Guid.NewGuid();

    public override CultureInfo CurrentCulture => CultureInfo.CurrentCulture;

    public override CultureInfo CurrentUICulture => CultureInfo.CurrentUICulture;

    public override PSHostUserInterface UI => userInterface;

    public override void SetShouldExit(int exitCode) => ExitCode = exitCode;

    public override void EnterNestedPrompt() => throw new HostException("This host has no nested prompt.");

    public override void ExitNestedPrompt() => throw new HostException("This host has no nested prompt.");

    public override void NotifyBeginApplication()
    {
    }

    public override void NotifyEndApplication()
    {
    }
}
