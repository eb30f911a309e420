import platform
from importlib import metadata

from utils import versions
from utils.versions import PACKAGES


def test_versions_are_those_of_the_installed_packages_and_others_are_left_out(monkeypatch):
    monkeypatch.setattr(versions, "PACKAGES", (*PACKAGES, "no-such-package"))
    found = versions.versions()
    installed = {
        dist.metadata["Name"].lower().replace("_", "-"): dist.version for dist in metadata.distributions()
    }
    expected = {name: installed[name] for name in PACKAGES if name in installed}
    assert {"torch", "numpy"} <= expected.keys()
    assert found == {"python": platform.python_version(), "platform": platform.platform(), **expected}
