namespace ArchAzure.SimulatedAzure;

/// <summary>The controller of a machine's OS disk and of its data disks.</summary>
/// <remarks>https://learn.microsoft.com/azure/virtual-machines/nvme-overview.</remarks>
public enum DiskController
{
    /// <summary>Generation 1. On Azure Linux takes these disks by hv_storvsc, which there is only on Hyper-V.</summary>
    IDE,

    /// <summary>Generation 2.</summary>
    SCSI,

    /// <summary>Generation 2, the only one of newer sizes. The namespace 1 is the OS disk, N the data disk with LUN N - 2.</summary>
    NVMe,
}

/// <summary>Which controllers belong to which generation.</summary>
internal static class DiskControllers
{
    /// <summary>The controller of a generation where none is named.</summary>
    public static DiskController Of(int generation) => generation == 1 ? DiskController.IDE : DiskController.SCSI;

    /// <summary>The generation that has a controller.</summary>
    public static int Generation(this DiskController controller) => controller == DiskController.IDE ? 1 : 2;
}
