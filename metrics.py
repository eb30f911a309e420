"""Score what render.py wrote.

    python metrics.py -m output/id1 [output/id2 ...]            scores; several runs are compared
    python metrics.py -m output/id1 --renders other/pngs        pictures of any other method, scored alike
    python metrics.py -s data/id1 --renders one/pngs two/pngs   without a run

PSNR, SSIM and L1 of the whole picture, the head, the mouth and the eyes; sharpness, flicker and background
error; LPIPS where its weights are given. Scores lie in output/id1/{test,val}/ours_N/metrics.json and
output/id1/{results,per_view}.json; strips.png and details.png beside the pictures are to look at.
A comparison (tables, curves, frames to look at, a page that flips between methods) lies in
output/id1/comparison/test, or where --out says.
"""

import sys

from arguments import ScoringParams, parse_metrics_args
from utils.errors import exit_on_user_error
from utils.startup import prepare_environment


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    # Before torch is imported: --help and a wrong flag answer at once.
    params = parse_metrics_args(argv)
    prepare_environment()
    from scoring.comparison import comparable, methods_of
    from scoring.comparison_files import write_comparison
    from scoring.foreign_renders import find_foreign_sets
    from scoring.pictures import write_pictures
    from scoring.regions import RegionFinder
    from scoring.rendered_set import find_rendered_sets
    from scoring.report import TABLE_NOTE, table, write_scores
    from scoring.scores import score_set
    from utils.device import choose_device
    from utils.tables import markdown_table

    device = choose_device(params.device)
    sets = find_rendered_sets(params)
    sets += find_foreign_sets(params, sets)
    compared = comparable(params, sets)
    finders = [RegionFinder(rendered, params) for rendered in sets]
    lpips = load_lpips(params, device)
    if not params.quiet:
        for notice in dict.fromkeys(finder.notice for finder in finders if finder.notice):
            print(notice, file=sys.stderr)

    results = []
    for finder in finders:
        scores = score_set(finder.rendered, finder, device, lpips, quiet=params.quiet)
        if finder.rendered.is_ours:
            write_scores(finder.rendered, scores, params)
            write_pictures(finder.rendered, scores, finder)
        results.append((finder.rendered, scores))
    print(markdown_table(table(results)))
    print(TABLE_NOTE)
    for name in compared:
        methods = methods_of([result for result in results if result[0].name == name])
        folder = params.comparison_folder / name
        print(f"\n{write_comparison(folder, methods, params)}")
        print(f"\n{folder / 'index.html'}: flips between methods; tables and pictures lie beside it")


def load_lpips(params: ScoringParams, device):
    """The LPIPS network, or None and one line that says why."""
    from utils.lpips import Lpips

    if params.lpips_weights is not None:
        return Lpips(params.vgg_weights, params.lpips_weights).to(device)
    if not params.quiet:
        print("LPIPS is not computed: it needs --vgg_weights and --lpips_weights", file=sys.stderr)
    return None


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
