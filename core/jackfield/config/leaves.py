"""What a single value of a file may be: one annotated type for each kind, read by the checks and the schemas alike."""

from typing import Annotated, Literal

from msgspec import Meta

RestartPolicy = Literal["never", "on-failure", "always"]
"""When a plugin that has left `running` is started again."""

_YEAR = 365 * 24 * 3600
Text = Annotated[str, Meta(min_length=1, description="a text that is not empty")]
Seconds = Annotated[
    float, Meta(gt=0, le=_YEAR, description="a number of seconds above 0 (and at most a year), as in 0.5")
]
Count = Annotated[int, Meta(ge=0, le=1_000_000, description="a whole number from 0 to 1,000,000")]
Positive = Annotated[int, Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1,000,000")]
Processes = Annotated[int, Meta(ge=1, le=256, description="a whole number from 1 to 256")]
Share = Annotated[float, Meta(ge=0, le=1, description="a share from 0 to 1 (0.2 is 20 %)")]
Weight = Annotated[float, Meta(gt=0, le=1_000_000, description="a number above 0 (and at most 1,000,000), as in 2.0")]
Port = Annotated[int, Meta(ge=0, le=65_535, description="a port number from 0 (any free one) to 65535")]
Pattern = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_*-]+(\.[A-Za-z0-9_*-]+)*$(?!\n)",
        description="a function name in which '*' stands for anything, as in 'text.*'",
    ),
]
Attribute = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z_]\w*(\.[A-Za-z_]\w*)*:)?[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$(?!\n)",
        description="an attribute as in 'slugify' or 'Text.slugify', or 'module:attribute'",
    ),
]

KeyDigest = Annotated[
    str,
    Meta(
        pattern=r"^sha256:[0-9a-f]{64}$(?!\n)",
        description="the digest of a key, as `pluginctl key` prints it: 'sha256:' and 64 hexadecimal digits",
        extra={"secret": True},  # whoever writes the key itself there must not find it in a log
    ),
]

_CPU = "cores as in '500m' or 2 (at most 100,000)"
Cpu = (
    Annotated[str, Meta(pattern=r"^(?=.*[1-9])(\d{1,8}m|\d{1,5}(\.\d{1,6})?)$(?!\n)", description=_CPU)]
    | Annotated[float, Meta(ge=0.001, le=100_000, description=_CPU)]
)
_SIZE = "bytes as in '512Mi', '1Gi' or 1048576"
Size = (
    Annotated[str, Meta(pattern=r"^(?=.*[1-9])(\d{1,15}|\d{1,6}(\.\d{1,6})?[kKMGT]i?)B?$(?!\n)", description=_SIZE)]
    | Annotated[int, Meta(ge=1, le=2**50, description=_SIZE)]
)

HostId = Annotated[
    str,
    Meta(
        pattern=r"^(?!\.{1,2}$)[^/\x00-\x20\x7f]{1,64}$(?!\n)",
        description="1 to 64 printable characters without spaces and '/', as in 'blue-1'",
    ),
]
StoreUrl = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9+.-]*:[^\x00-\x1f]*$(?!\n)",
        description="'memory:', 'sqlite:' and a file, or the URL of an adapter's store",
    ),
]
