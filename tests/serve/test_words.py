"""The window in Chinese: every text a person sees has one, with the same names in it, and none is kept in vain."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gemel.packs import energy
from gemel.serve import ui

UI = Path(ui.__file__).parent
STRING = r'"((?:[^"\\\n]|\\.)*)"'
PLAIN = {  # capital letters that are no text for people: keys, names, formats
    "AbortError", "ArrowDown", "ArrowLeft", "ArrowRight", "ArrowUp", "Arrow", "Backspace", "English",
    "Enter", "Escape", "Gemel", "Home",
}  # fmt: skip
FROM_ENGINE = {  # what the pages show under the engine's own name
    "accepted", "refused", "failed", "silent",  # what comes of a command
    "fan failed", "oil sensor drifts",  # the demo's findings
    "defects on parts", "pictures changed", "pictures unreadable",  # those of the inspection
    "type", "unit", "role", "asset",  # what is guessed of a signal
    "last value", "a day before", "seasonal naive", "naive", "ridge", "physics", "pool",  # who forecasts
    "fast", "best", "network",  # how a network answers, and the network itself
    "finding", "decision", "basis",  # what an answer cites
}  # fmt: skip


def words() -> dict[str, str]:
    text = (UI / "words" / "zh.js").read_text("utf-8")
    return {json.loads(f'"{a}"'): json.loads(f'"{b}"') for a, b in re.findall(STRING + r":\s+" + STRING, text)}


def code() -> dict[str, str]:
    """File -> its text without comments; the words themselves are left out."""
    files = [f for f in sorted(UI.rglob("*.js")) if f.parent.name != "words"]
    return {f.name: re.sub(r"(?m)^\s*(?://|/?\*).*$|\s// .*$", "", f.read_text("utf-8")) for f in files}


def literals(text: str) -> set[str]:
    return {json.loads(f'"{s}"') for s in re.findall(STRING, text) if not re.search(r"\\[^\"\\/nu]", s)}


def for_people(text: str) -> set[str]:
    """The texts of a file that a person sees: what is given to `t`, and what begins as a text or a name does."""
    given = {json.loads(f'"{s}"') for s in re.findall(r"\bt\(\s*" + STRING, text)}
    tables = {s for s in literals(text) if re.match(r"[A-Z][a-z]|[A-Z] [a-z]", s) or re.search(r"(?<!\$)\{[a-z]+\}", s)}
    return given | (tables - PLAIN)


@pytest.mark.parametrize("name", code())
def test_every_text_has_a_chinese_one(name: str) -> None:
    missing = sorted(for_people(code()[name]) - set(words()))
    assert not missing, f"words/zh.js lacks, for {name}: {missing}"


def test_no_chinese_text_is_kept_in_vain() -> None:
    used = set().union(*map(literals, code().values()), FROM_ENGINE)
    assert not sorted(set(words()) - used)


def test_every_key_stands_once() -> None:
    keys = re.findall(STRING + r":\s+\"", (UI / "words" / "zh.js").read_text("utf-8"))
    assert sorted(keys) == sorted(set(keys))


def test_both_languages_name_the_same_values() -> None:
    names = re.compile(r"\{(\w+)\}")
    wrong = [en for en, zh in words().items() if sorted(names.findall(en)) != sorted(names.findall(zh))]
    assert not wrong


def test_every_text_is_chinese_and_set_as_chinese_is() -> None:
    """Full-width punctuation, and a space between Chinese and Latin letters or numbers."""
    chinese = "[\u4e00-\u9fff]"
    wrong = {en: zh for en, zh in words().items() if re.search(rf"{chinese}[A-Za-z0-9]|[A-Za-z0-9]{chinese}", zh)}
    wrong |= {en: zh for en, zh in words().items() if re.search(rf"{chinese}[,.;:!?()]", zh)}
    wrong |= {en: zh for en, zh in words().items() if not re.search(chinese, zh) and not zh.startswith("80%")}
    assert not wrong


SAID = {
    "fan failed": "风扇故障",
    "unexpected oil": "oil 异常",
    "fan_power is 0.72 below what the twin expects": "fan_power 比孪生预期低 0.72",
    "fan_health is 0.53; the twin is sure that fan_health < 0.8": "fan_health 为 0.53；孪生确信 fan_health < 0.8",
    "mill_power, mill_cycle speak for it": "mill_power、mill_cycle 支持这一判断",
    "unknown": "未知",
    "fan = 3: outside its limits 0 .. 2; its safe value 2 is sent instead": "fan = 3：超出限值 0 … 2；改发安全值 2",
    "fan = 2: in hand of ann": "fan = 2：由 ann 手动接管",
    "Keep fan at 0: winding stays below 98 degC in 100% of futures. A load of up to 50 MVA is safe.": (
        "fan 保持 0：winding 低于 98 °C，在 100% 的未来情景中成立。load 不超过 50 MVA 是安全的。"
    ),
    "Set fan to 2 now, then to 0 in 3h: winding stays below 98 degC in 96% of futures instead of 12%, and this saves "
    "1.2 (0.4 to 2.1) EUR over 24h. Taken into account: fan failed, oil sensor drifts (limits tightened by 3).": (
        "fan 现在设为 2，3 小时后改为 0：winding 低于 98 °C，在 96% 的未来情景中成立（维持不变时 12%），"
        "24 小时内可节省 1.2 EUR（0.4 至 2.1）。已考虑：风扇故障、油温传感器漂移（约束收紧 3）。"
    ),
    "3 of the last 20 parts are rejected; in the picture at row 30, column 54": (
        "最近 20 个零件中有 3 个不合格；图像中位于第 30 行、第 54 列"
    ),
    "the sharpness is lower than usual in the pictures of camera (light, focus, dirt, or one mark on every part): "
    "not judged": "camera 的图像：清晰度比平时低（光照、对焦、污渍或每个零件上的同一痕迹）；暂不判定",
    "Service grind at once; mill needs no service yet; nothing is known of the remaining life of saw and wash, so no "
    "service is planned.": "立即维护 grind；mill 暂不需要维护；尚不知道 saw、wash 的剩余寿命，暂不安排维护。",
    "grind lasts 35 h more, 6 to 71 h in four of five cases": "grind 还能用 35 小时（五次中有四次在 6 至 71 小时之间）",
    "load": "load",
    "ann's own note: mind the draught.": "ann's own note: mind the draught.",
}


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node here")
@pytest.mark.parametrize("language", ["zh", "en"])
def test_sentences_of_the_engine_are_said(language: str, tmp_path: Path) -> None:
    """What it does not know, a signal's name or a person's note, stays as it is; so does everything in English."""
    page = tmp_path / "page.mjs"
    page.write_text(
        f"globalThis.localStorage = {{ getItem: () => {json.dumps(language)} }};"
        f"const {{ said }} = await import({json.dumps((UI / 'lib' / 'words.js').as_uri())});"
        f"console.log(JSON.stringify({json.dumps(list(SAID))}.map(said)));",
        encoding="utf-8",
    )
    ran = subprocess.run(["node", str(page)], capture_output=True, encoding="utf-8", check=True, timeout=30)
    assert json.loads(ran.stdout) == list(SAID.values() if language == "zh" else SAID)


def test_the_demo_has_no_other_findings() -> None:
    text = (Path(energy.__file__).parent / "transformer.toml").read_text("utf-8")
    assert set(re.findall(r'\{ name = "([^"]+)", signal', text)) <= set(words())
