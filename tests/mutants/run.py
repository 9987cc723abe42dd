#!/usr/bin/env python3
"""scripts/mutants [NAME…]: breaks each promise on purpose, in a copy of the tree, and runs the test that must notice.

    --apply   only looks whether each mutant can still be made

First each test passes on the copy as it is. Exit 1 when a mutant lives, or cannot be made."""
import os
import shutil
import subprocess
import sys
import time

from mutants import MUTANTS

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
TREE = os.path.join(ROOT, "build", "mutants", "interop")
LIMIT = 900                              # seconds for a test


def read(folder, file):
    with open(os.path.join(folder, file), encoding="utf-8") as f:
        return f.read()


def broken(folder, mutant):
    """The files of the mutant as {name: text}; SystemExit when a text to replace is not there exactly once."""
    texts = {}
    for file, old, new in mutant.edits:
        text = texts.get(file) or read(folder, file)
        if text.count(old) != 1:
            raise SystemExit(f"mutants: {mutant.name}: {file} holds {text.count(old)} times: {old.strip()[:100]}")
        texts[file] = text.replace(old, new)
    return texts


def write(texts):
    for file, text in texts.items():
        with open(os.path.join(TREE, file), "w", encoding="utf-8") as f:
            f.write(text)
        if file.startswith("sql/"):      # it is within the binary
            os.utime(os.path.join(TREE, "src/store/migrate_files.c"))


def copy():
    """What git knows of, with what is not committed, beside what was built of an earlier copy."""
    files = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True)
    wanted = set(files.stdout.split("\n")) - {""}
    for folder, below, names in os.walk(TREE):
        at = os.path.relpath(folder, TREE)
        if at == ".":
            below[:] = [name for name in below if name != "build"]
        for name in names:
            if os.path.normpath(os.path.join(at, name)) not in wanted:
                os.unlink(os.path.join(folder, name))
    for file in sorted(wanted):
        source, target = os.path.join(ROOT, file), os.path.join(TREE, file)
        if not os.path.exists(source):
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target) or open(source, "rb").read() != open(target, "rb").read():
            shutil.copy(source, target)


def kind(test):
    return "fault" if test[0] == "failpoints" else "release"


def built(test):
    targets = ["test_" + test[1].replace("/", "_")] if test[0] == "unit" else ["interop"]
    return subprocess.run([os.path.join(TREE, "scripts/build"), kind(test), *targets], capture_output=True, text=True, check=False)


def noticed(test):
    """Whether the test fails, and by what."""
    env = {**os.environ, "INTEROP_BINARY": f"build/{kind(test)}/interop", "PYTHONDONTWRITEBYTECODE": "1",
           "INTEROP_SHARED": os.environ.get("INTEROP_SHARED", os.path.join(os.path.dirname(ROOT), "shared"))}
    argv = [f"build/release/test_{test[1].replace('/', '_')}"] if test[0] == "unit" else \
        ["/usr/bin/python3", f"tests/scenario/{test[0]}.py", *test[1:]]
    try:
        done = subprocess.run(argv, cwd=TREE, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return True, f"it does not end within {LIMIT} s"
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    why = next((line for line in lines if "FAILED" in line), lines[-1] if lines else "no word")
    return done.returncode != 0, why


def main():
    names = [arg for arg in sys.argv[1:] if not arg.startswith("--")]
    chosen = [m for m in MUTANTS if not names or any(m.name.startswith(name) for name in names)]
    if not chosen:
        raise SystemExit(f"mutants: none is called {' or '.join(names)}")
    for mutant in chosen:
        broken(ROOT, mutant)
    if "--apply" in sys.argv:
        print(f"mutants: all {len(chosen)} can be made")
        return
    copy()
    for test in dict.fromkeys(tuple(m.test) for m in chosen):
        done = built(test)
        if done.returncode != 0:
            raise SystemExit(f"mutants: the tree does not build:\n{done.stderr}")
        failed, why = noticed(test)
        if failed:
            raise SystemExit(f"mutants: {' '.join(test)} fails without a mutant: {why}")
    living = []
    for mutant in chosen:
        begun, whole = time.monotonic(), {file: read(TREE, file) for file, _, _ in mutant.edits}
        write(broken(TREE, mutant))
        try:
            done = built(mutant.test)
            if done.returncode != 0:
                raise SystemExit(f"mutants: {mutant.name} does not build:\n{done.stderr}")
            caught, why = noticed(mutant.test)
        finally:
            write(whole)
        print(f"{'caught' if caught else 'LIVES '}  {mutant.name}: {mutant.breaks}\n"
              f"        {' '.join(mutant.test)}, {time.monotonic() - begun:.0f} s{': ' + why[:200] if caught else ''}", flush=True)
        if not caught:
            living.append(mutant.name)
    print(f"mutants: {len(chosen) - len(living)} of {len(chosen)} caught" + (f"; alive: {', '.join(living)}" if living else ""))
    sys.exit(1 if living else 0)


if __name__ == "__main__":
    main()
