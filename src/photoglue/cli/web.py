"""`photoglue web`: a page on this machine to try photos on."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from photoglue.precision import Precision
from photoglue.web import WebOptions, serve


@dataclass(frozen=True, kw_only=True)
class Web:
    """Serve a page to try photos on: drop two, and see which points of them show the same thing.

    The page is at 127.0.0.1, and its address holds a random token: nobody else can open it, and nothing leaves this
    machine. Ctrl-C ends it.
    """

    map: Path | None = None
    """Also place photos in the map of this folder, which `photoglue map` made; needs the extra sfm."""
    port: int = 0
    """Port of 127.0.0.1; 0: any that is free."""
    open: bool = False
    """Open the page in the browser of this machine."""
    max_upload_mb: int = 64
    """Largest file of a photo that is taken, megabytes."""
    precision: Precision = "auto"
    """Number format to compute in; auto: what was measured to be fastest on this machine (`photoglue --version`)."""
    device: str | None = None
    """Device to compute on, such as cpu or cuda:0; None: a GPU if there is one."""
    allow_noncommercial: bool = False
    """Offer features whose weights may not be used commercially (SuperPoint, DoG-HardNet)."""

    def run(self, console: Console) -> int:
        """Serve the page until Ctrl-C; returns 0."""
        options = WebOptions(
            max_upload_mb=self.max_upload_mb,
            precision=self.precision,
            device=self.device,
            allow_noncommercial=self.allow_noncommercial,
        )

        def ready(url: str) -> None:
            console.print(f"page        {url}", soft_wrap=True)
            console.print("            for this machine alone; Ctrl-C ends it")
            if self.open:
                webbrowser.open(url)

        serve(self.port, map_folder=self.map, options=options, on_ready=ready)
        return 0
