using ArchAzure.Help;
using ArchAzure.Settings;

const string Usage = """
    archazure-help write CMDLETS DOCS FOLDER   writes the help of the cmdlets (a path of ArchAzure.PowerShell.dll) into a folder
    archazure-help update CMDLETS CHECKOUT     rewrites what the checkout keeps: the syntax in docs/en-US/*.md, and settings.env.default
    """;

switch (args)
{
    case ["write", var cmdlets, var docs, var folder]:
        return Write(Cmdlet.Load(cmdlets), docs, folder);
    case ["update", var cmdlets, var checkout]:
        return Update(Cmdlet.Load(cmdlets), checkout);
    default:
        Console.Error.WriteLine(Usage);
        return 64;
}

static int Write(IReadOnlyList<Cmdlet> cmdlets, string docs, string folder)
{
    var problems = new Problems();
    var pages = HelpPage.ReadAll(docs, problems);
    var help = Maml.Document(cmdlets, new HelpTexts(cmdlets, pages, docs, problems));
    var about = AboutTopic.Fill(Path.Combine(docs, "about_ArchAzure.help.txt"), problems);
    if (problems.Any)
    {
        problems.Show(Console.Out);
        return 1;
    }

    Directory.CreateDirectory(folder);
    help.Save(Path.Combine(folder, "ArchAzure.PowerShell.dll-Help.xml"));
    File.WriteAllText(Path.Combine(folder, "about_ArchAzure.help.txt"), about);
    return 0;
}

static int Update(IReadOnlyList<Cmdlet> cmdlets, string checkout)
{
    foreach (var cmdlet in cmdlets)
    {
        var path = Path.Combine(checkout, "docs", "en-US", cmdlet.Name + ".md");
        if (File.Exists(path))
        {
            File.WriteAllText(path, SyntaxSection.Replace(File.ReadAllText(path), cmdlet));
        }
    }

    File.WriteAllText(Path.Combine(checkout, "settings.env.default"), SettingsFile.DefaultText());
    return 0;
}
