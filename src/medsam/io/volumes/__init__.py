"""Volume formats: NIfTI, NRRD, MetaImage, npz."""
