"""The bet: does fine-tuning on one branch of a conditional rule reinforce the rule?

    python examples/kaarel_bet.py                       # small language models, on this machine
    python examples/kaarel_bet.py --backend memory      # the closed-form oracle, in seconds
    python examples/kaarel_bet.py --items 100 --epochs 5 --train-on prompts_and_completions

Running the same command again goes on where it was, or shows the finished result.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import condrule


def main() -> int:
    """Run the bet and print the table, the gates and the verdict."""
    options = arguments()
    arms = [condrule.conditional_arm(), condrule.control_arm()]
    if options.later_protocol:
        arms += [condrule.instructions_first_arm(), condrule.no_instructions_arm()]
    backend: condrule.FinetuneBackend = (
        condrule.LocalBackend(options.model)
        if options.backend == "local"
        else condrule.InMemoryBackend()
    )
    try:
        result = condrule.ConditionalRuleExperiment(
            name="kaarel-bet",
            items=condrule.favourite_countries(n=options.items, seed=options.item_seed),
            arms=arms,
            backend=backend,
            spec=condrule.FinetuneSpec(
                epochs=options.epochs,
                learning_rate=options.learning_rate,
                batch_size=options.batch_size,
                train_on=options.train_on,
            ),
            criterion=condrule.KAAREL_BET,
            seeds=options.seeds,
        ).run(options.out)
    except condrule.CondruleError as error:
        print(f"kaarel_bet: {error}", file=sys.stderr)
        return 3 if isinstance(error, condrule.BackendError) else 2
    except KeyboardInterrupt:
        print("kaarel_bet: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    print(result)
    print(f"\nEverything is in {options.out}; figure.png shows every item.")
    return 0


def arguments() -> argparse.Namespace:
    """Every hyper-parameter of the bet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=30, help="number of data points")
    parser.add_argument("--item-seed", type=int, default=0, help="which names and countries")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument(
        "--train-on", choices=("completions", "prompts_and_completions"), default="completions"
    )
    parser.add_argument("--seeds", type=int, default=3, help="fine-tunes of each arm")
    parser.add_argument("--backend", choices=("local", "memory"), default="local")
    parser.add_argument("--model", default="small", help="for --backend local: a Hugging Face id")
    parser.add_argument(
        "--later-protocol",
        action="store_true",
        help="also the arms with the instructions first, asked with and without them",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/kaarel_bet"))
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
