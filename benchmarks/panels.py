"""How soon the dashboard appears and a click shows, beside the same by hand with bare ipywidgets and requests.

    python benchmarks/panels.py [--rounds 9]

In a real Chromium (`GCTOKENS_CHROMIUM`, else `chromium` on PATH) before Voilà, in turn, on one page of one kernel that has
imported all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import requests
from playwright.sync_api import Page, sync_playwright
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

APPEARS_GOAL_MILLISECONDS, CLICK_GOAL_MILLISECONDS = 1000, 100
CELL = """
import ipywidgets, pandas, requests
from IPython.display import display
import gctokens_nb as gct

gc = gct.connect_sandbox()
place = ipywidgets.Output()
bare = ipywidgets.Button(description="Bare click")

def dashboard():
    display(gct.panels.Dashboard(gc))

def by_hand():
    headers = {"Authorization": f"Bearer {gc.access_token.value}"}
    answer = requests.get(f"{gc.sandbox.base_url}/api/v2/tokens/me", headers=headers, timeout=10).json()
    table = pandas.json_normalize(answer).T.to_html(classes="by-hand")
    display(ipywidgets.VBox([ipywidgets.HTML(table), ipywidgets.Button(description="Revoke")]))

def shows(name, show):
    button = ipywidgets.Button(description=name)
    @button.on_click
    def _(button):
        place.clear_output()
        with place:
            show()
    return button

@bare.on_click
def _(button):
    button.disabled = True
    button.disabled = False

ipywidgets.VBox([shows("Dashboard", dashboard), shows("By hand", by_hand), bare, place])
"""
# Click the button of that text; the milliseconds until so many elements of the selector are there that were not before.
APPEARS = """([text, selector, count]) => new Promise((resolve, reject) => {
    setTimeout(() => reject('nothing happened within 30 s'), 30000);
    const old = new Set(document.querySelectorAll(selector));
    const start = performance.now();
    const observer = new MutationObserver(() => {
        if ([...document.querySelectorAll(selector)].filter(one => !old.has(one)).length < count) return;
        observer.disconnect();
        resolve(performance.now() - start);
    });
    observer.observe(document.body, {subtree: true, childList: true, attributes: true});
    [...document.querySelectorAll('button')].find(button => button.textContent.trim() === text).click();
})"""
# Click the button of that text; the milliseconds until it can be clicked no more.
FEEDBACK = """text => new Promise((resolve, reject) => {
    setTimeout(() => reject('nothing happened within 30 s'), 30000);
    const button = [...document.querySelectorAll('button')].find(one => one.textContent.trim() === text);
    const start = performance.now();
    const observer = new MutationObserver(() => {
        if (!button.disabled) return;
        observer.disconnect();
        resolve(performance.now() - start);
    });
    observer.observe(button, {attributes: true});
    button.click();
})"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="of each, in turn, after one that warms up")
    rounds: int = parser.parse_args().rounds
    chromium = shutil.which(os.environ.get("GCTOKENS_CHROMIUM", "chromium"))
    if chromium is None:
        sys.exit("No Chromium found: install it, or set GCTOKENS_CHROMIUM to its path.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        cell = nbformat.v4.new_code_cell(CELL)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), Path(folder, "page.ipynb"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={url[17:]}"]
        options += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
        command = [sys.executable, "-m", "jupyter_server", *options]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
            try:
                with requests.Session() as session:
                    session.mount(url, HTTPAdapter(max_retries=Retry(connect=9, backoff_factor=0.2)))
                    session.get(f"{url}/api", timeout=60).raise_for_status()
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                page = browser.new_page()
                page.goto(f"{url}/voila/render/page.ipynb")
                measure(page, rounds)
                browser.close()
            finally:
                server.terminate()


def measure(page: Page, rounds: int) -> None:
    page.get_by_role("button", name="Bare click").wait_for()
    appeared: dict[str, list[float]] = {"Dashboard": [], "By hand": []}
    clicked: dict[str, list[float]] = {"Refresh": [], "Bare click": []}
    for number in range(rounds + 1):
        for name, selector, count in (("By hand", ".by-hand", 1), ("Dashboard", ".gct-status-ok", 2)):
            milliseconds = page.evaluate(APPEARS, [name, selector, count])
            if number:
                appeared[name].append(milliseconds)
        for name, times in clicked.items():
            page.wait_for_selector(f"button:text-is('{name}'):enabled >> visible=true")
            milliseconds = page.evaluate(FEEDBACK, name)
            if number:
                times.append(milliseconds)
        page.wait_for_selector("button:text-is('Refresh'):enabled >> visible=true")
    for what, measured, goal in (
        ("from the click to all that its panels read", appeared, APPEARS_GOAL_MILLISECONDS),
        ("from a click to its feedback", clicked, CLICK_GOAL_MILLISECONDS),
    ):
        ours, theirs = (statistics.median(one) for one in measured.values())
        first, second = measured
        print(f"{what}, medians of {rounds}")
        print(f"  {first:12} {ours:6.0f} ms   {ours / theirs:.2f} of {second!r}   goal: {goal} ms")
        print(f"  {second:12} {theirs:6.0f} ms")


if __name__ == "__main__":
    main()
