using System.Xml.Linq;

namespace ArchAzure.Help;

/// <summary>Writes the help in MAML, the XML that Get-Help reads.</summary>
internal static class Maml
{
    private static readonly XNamespace s_msh = "http://msh";
    private static readonly XNamespace s_maml = "http://schemas.microsoft.com/maml/2004/10";
    private static readonly XNamespace s_command = "http://schemas.microsoft.com/maml/dev/command/2004/10";
    private static readonly XNamespace s_dev = "http://schemas.microsoft.com/maml/dev/2004/10";

    public static XDocument Document(IReadOnlyList<Cmdlet> cmdlets, HelpTexts texts) => new(new XElement(
        s_msh + "helpItems",
        new XAttribute("schema", "maml"),
        from cmdlet in cmdlets
        let page = texts.Page(cmdlet)
        where page is not null
        select Command(cmdlet, page, texts)));

    private static XElement Command(Cmdlet cmdlet, HelpPage page, HelpTexts texts) => new(
        s_command + "command",
        new XAttribute(XNamespace.Xmlns + "maml", s_maml),
        new XAttribute(XNamespace.Xmlns + "command", s_command),
        new XAttribute(XNamespace.Xmlns + "dev", s_dev),
        new XElement(
            s_command + "details",
            new XElement(s_command + "name", cmdlet.Name),
            new XElement(s_command + "verb", cmdlet.Verb),
            new XElement(s_command + "noun", cmdlet.Noun),
            Description([page.Synopsis])),
        Description(page.Description),
        new XElement(s_command + "syntax", cmdlet.Sets.Select(set => new XElement(
            s_command + "syntaxItem",
            new XElement(s_maml + "name", cmdlet.Name),
            cmdlet.InOrder(set).Select(item => Parameter(cmdlet, item.Parameter, item.Use, texts, inSyntax: true))))),
        new XElement(
            s_command + "parameters",
            from parameter in cmdlet.Parameters
            orderby parameter.Name is "WhatIf" or "Confirm", parameter.Name
            select Parameter(cmdlet, parameter, parameter.Uses[0], texts, inSyntax: false)),
        new XElement(s_command + "inputTypes", page.Inputs.Select(type => Piped("inputType", type))),
        new XElement(s_command + "returnValues", page.Outputs.Select(type => Piped("returnValue", type))),
        page.Notes.Count == 0 ? null : new XElement(s_maml + "alertSet", new XElement(s_maml + "alert", Paragraphs(page.Notes))),
        new XElement(s_command + "examples", page.Examples.Select(example => new XElement(
            s_command + "example",
            new XElement(s_maml + "title", Ruled(example.Title)),
            new XElement(s_dev + "code", example.Code),
            // The empty one keeps the next title at a distance.
            new XElement(s_dev + "remarks", Paragraphs([.. example.Remarks, ""]))))),
        new XElement(s_command + "relatedLinks", page.Links.Select(link => new XElement(
            s_maml + "navigationLink",
            new XElement(s_maml + "linkText", link),
            new XElement(s_maml + "uri")))));

    private static XElement Parameter(Cmdlet cmdlet, CmdletParameter parameter, ParameterUse use, HelpTexts texts, bool inSyntax) => new(
        s_command + "parameter",
        new XAttribute("required", use.Required),
        new XAttribute("variableLength", true),
        new XAttribute("globbing", parameter.Wildcards),
        new XAttribute("pipelineInput", Pipeline(use)),
        new XAttribute("position", use.Position?.ToString() ?? "named"),
        new XAttribute("aliases", parameter.Aliases.Count == 0 ? "none" : string.Join(", ", parameter.Aliases)),
        new XElement(s_maml + "name", parameter.Name),
        // Only where it is shown: a syntax shows no text.
        inSyntax ? null : Description(texts.Parameter(cmdlet, parameter)),
        inSyntax && parameter.Values.Count > 0
            ? new XElement(s_command + "parameterValueGroup", parameter.Values.Select(value => Value(value, required: false)))
            : null,
        inSyntax && parameter.IsSwitch ? null : Value(parameter.Type.Name, required: !parameter.IsSwitch),
        new XElement(s_dev + "type", new XElement(s_maml + "name", parameter.Type.Name), new XElement(s_maml + "uri")),
        new XElement(s_dev + "defaultValue", HelpTexts.Default(parameter) ?? "None"));

    // Get-Help shows examples without a heading or a rule of its own.
    private static string Ruled(string title)
    {
        const int Width = 64;
        var rule = new string('-', Math.Max(2, (Width - title.Length) / 2));
        return $"{rule} {title} {rule}";
    }

    private static XElement Value(string text, bool required) => new(
        s_command + "parameterValue",
        new XAttribute("required", required),
        new XAttribute("variableLength", false),
        text);

    private static string Pipeline(ParameterUse use) => use switch
    {
        { ByValue: true, ByPropertyName: true } => "true (ByValue, ByPropertyName)",
        { ByValue: true } => "true (ByValue)",
        { ByPropertyName: true } => "true (ByPropertyName)",
        _ => "false",
    };

    private static XElement Piped(string name, PipedType type) => new(
        s_command + name,
        new XElement(s_dev + "type", new XElement(s_maml + "name", type.Name)),
        Description(type.Text));

    private static XElement Description(IEnumerable<string> text) => new(s_maml + "description", Paragraphs(text));

    private static IEnumerable<XElement> Paragraphs(IEnumerable<string> text) =>
        text.Select(paragraph => new XElement(s_maml + "para", paragraph));
}
