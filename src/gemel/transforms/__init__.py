"""The wing of transforms: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "hampel": "gemel.transforms.hampel:Hampel",
    "late": "gemel.transforms.late:Late",
    "limits": "gemel.transforms.limits:Limits",
    "normalise": "gemel.transforms.normalise:Normalise",
    "resample": "gemel.transforms.resample:Resample",
    "savgol": "gemel.transforms.savgol:Savgol",
    "stuck": "gemel.transforms.stuck:Stuck",
    "units": "gemel.transforms.units:Units",
    "wavelet": "gemel.transforms.wavelet:Wavelet",
}
