using ArchAzure.Publishing;

namespace ArchAzure.PublishTests;

/// <summary>Publishes into a gallery of the simulated Resource Manager of another process, which may kill this one.</summary>
internal static class Program
{
    /// <param name="args">
    /// The Resource Manager's address, its certificate's hash, the image and the VHD; <c>--skip-test</c> for one that holds no system.
    /// </param>
    public static async Task<int> Main(string[] args)
    {
        var reporter = new RecordingReporter();
        var request = new PublishRequest { VhdPath = args[3], SkipTest = args.Contains("--skip-test") };
        var image = new GalleryRequest { Image = args[2], ResourceGroup = SimulatedResourceManager.Group, Location = "westeurope" };
        try
        {
            var access = SimulatedResourceManager.AccessTo(new Uri(args[0]), args[1]);
            var published = await VhdPublisher.ToGalleryAsync(request, access, image, reporter, default);
            Console.WriteLine(published.ImageVersionId);
            return 0;
        }
        catch (ArchAzureException e)
        {
            Console.WriteLine(e);
            return 1;
        }
        finally
        {
            Console.WriteLine(reporter.Everything);
        }
    }
}
