using ArchAzure.FileSystems;
using ArchAzure.Readiness;
using ArchAzure.UnitTests.FileSystems;
using Xunit;

namespace ArchAzure.UnitTests.Readiness;

public sealed class GrubConfigurationTests
{
    private const string Menu = """
        menuentry "First" --id one { linux /a }
        submenu 'More' {
          menuentry 'Second' $menuentry_id_option 'two' {
            linux /b x\
        y 'quoted word' "$flags"
          }
        }
        menuentry Third { linux /c }
        """;

    [Theory]
    [InlineData("", "/a")]
    [InlineData("set default=0\n", "/a")]
    [InlineData("set default=2\n", "/c")]
    [InlineData("set default=\"2\"\nset default=\"${saved}\"\n", "/a")]
    [InlineData("default=Third\n", "/c")]
    [InlineData("set default=one\n", "/a")]
    [InlineData("set default='More>two'\n", "/b")]
    [InlineData("set default='1>0'\n", "/b")]
    [InlineData("set default=1\n", "/b")]
    [InlineData("set default=9\n", "/a")]
    [InlineData("set default=\"${saved_entry}\"\n", "/c")]
    public void Default_entry_is_found(string before, string kernel)
    {
        var (commands, _) = GrubConfiguration.ReadDefaultEntry(
            before + Menu, ["# GRUB Environment Block", "saved_entry=Third", "####"], new());

        Assert.Equal(kernel, commands!.Single(command => command.Name == "linux").Arguments[0]);
    }

    [Fact]
    public void Words_are_split_as_grub_does()
    {
        var (commands, _) = GrubConfiguration.ReadDefaultEntry("set flags=\"a b\"\nset default=two\nset default=1\n" + Menu, [], new());

        Assert.Equal(["/b", "xy", "quoted word", "a b"], commands!.Single().Arguments);
    }

    [Fact]
    public void Without_a_menu_the_commands_themselves_count()
    {
        var (commands, _) = GrubConfiguration.ReadDefaultEntry(
            "search.fs_uuid 1 root\nlinux /vmlinuz root=UUID=1 # comment\ninitrd /initramfs; boot\n", [], new());

        Assert.Equal(["search.fs_uuid", "linux", "initrd", "boot"], commands!.Select(command => command.Name));
        Assert.Equal(["/vmlinuz", "root=UUID=1"], commands![1].Arguments);
    }
}
