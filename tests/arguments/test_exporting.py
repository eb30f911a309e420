import pytest

from arguments import parse_export_args
from utils.errors import UserError


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "-m/--model_path: missing"),
        (["-m", "nowhere"], "-m/--model_path nowhere: no such file or folder"),
        (["-m", "{here}", "-o", "x.ply"], "-o/--out x.ply: expected a name that ends in .safetensors"),
        (["-m", "{here}", "-o", "x.safetensors", "--web"], "expected a name that ends in .html with --web"),
        (["-m", "{here}/a.safetensors", "-o", "{here}/a.safetensors"], "is the model that is exported"),
        (["-m", "{here}", "-o", "{here}/a.safetensors/b.safetensors"], "is a file; expected a folder"),
        (["-m", "{here}", "--max_megabytes", "0"], "--max_megabytes 0.0: must be at least 0.1"),
        (["-m", "{here}", "--max_yaw", "200"], "--max_yaw 200.0: must be at most 180"),
        (["-m", "{here}", "--device", "gpu"], "--device gpu: expected auto, cpu"),
    ],
)
def test_wrong_options_are_refused_in_one_line(tmp_path, flags, message):
    (tmp_path / "a.safetensors").touch()
    with pytest.raises(UserError) as refusal:
        parse_export_args([flag.format(here=tmp_path) for flag in flags])
    assert message in str(refusal.value)
