"""The file of a study: what it may hold, and what is said of a mistake."""

from pathlib import Path

import pytest
import yaml

from docendo.errors import DocendoError
from docendo.methods import FSP, KD
from docendo.studies.asked import definition_of
from docendo.studies.definition import StudySettings, read_definition, study_settings
from docendo.studies.grid import choices_of


def test_short_forms_mean_the_long_ones() -> None:
    short = study_settings({"methods": ["plain", "kd"], "networks": ["a:b"], "data": ["digits"]})
    long = study_settings(
        {
            "methods": [{"method": "plain"}, {"method": "kd"}],
            "networks": [{"teacher": "a", "student": "b"}],
            "data": [{"name": "digits"}],
            "seeds": [0, 1, 2],
        }
    )
    assert short == long
    assert study_settings(long.model_dump(mode="json")) == long


REFUSED = {
    "key": ({"methods": ["kd"], "seed": [0]}, r'unknown key "seed"; did you mean "seeds"\?'),
    "method's key": ({"methods": [{"methd": "kd"}]}, r'unknown key "methd" in methods.0; did you mean "method"\?'),
    "nothing to compare": ({"seeds": [0]}, "methods is missing: name it, such as methods: "),
    "no method": ({"methods": []}, r"methods is \[\], but should"),
    "seeds": ({"methods": ["kd"], "seeds": [0, 0]}, "seeds is .* but should be different whole numbers"),
    "negative seed": ({"methods": ["kd"], "seeds": [-1]}, "seeds.0 is -1, but should be greater than or equal to 0"),
    "one seed": ({"methods": ["kd"], "seeds": 3}, r"seeds is 3, but should be a list such as \[0, 1\]"),
    "pair": ({"methods": ["kd"], "networks": ["resnet20"]}, 'networks is "resnet20", but must be TEACHER:STUDENT'),
    "run's seed": ({"methods": ["kd"], "run": {"seed": 1}}, "run.seed: in a study that stands under seeds"),
    "varied seed": ({"methods": ["kd"], "vary": {"seed": [1]}}, "vary.seed: in a study that stands under seeds"),
    "teachers": ({"methods": ["kd"], "teacher_seed": "all"}, "teacher_seed.* is 'all', but should be"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_mistake_is_said_in_one_line(what: str) -> None:
    values, message = REFUSED[what]
    with pytest.raises(DocendoError, match=message) as error:
        study_settings(values, "grid.yaml: ")
    assert str(error.value).startswith("grid.yaml: ")
    assert "\n" not in str(error.value)


def test_files_that_are_no_study(tmp_path: Path) -> None:
    with pytest.raises(DocendoError, match=r"cannot read the study .*none.yaml: No such file"):
        read_definition(tmp_path / "none.yaml")
    for text, message in {"- kd": "is no study", "a: [": "is not a YAML file"}.items():
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(DocendoError, match=message):
            read_definition(tmp_path / "bad.yaml")


def asked(*methods: object, sets: dict[str, object] | None = None, **options: object) -> StudySettings:
    return definition_of(methods, [0], None, 0, options, sets or {})  # type: ignore[arg-type]


def settings(definition: StudySettings) -> dict[str, dict[str, object]]:
    return {one.method: one.settings for one in definition.methods}


def test_settings_go_to_the_methods_that_have_them() -> None:
    definition = asked("plain", "kd", "ctkd", sets={"temperature": "2", "path": 0.5, "optimizer.momentum": 0.8})
    assert settings(definition) == {"plain": {}, "kd": {"temperature": "2"}, "collaborative_teaching": {"path": 0.5}}
    assert definition.run == {"optimizer.momentum": 0.8}
    added = asked("plain", "kd", "fitnet", sets={"add": "at,sp", "at.weight": "500"})
    assert settings(added)["plain"] == {}
    assert settings(added)["kd"] == {"add": "at,sp", "at.weight": "500"}
    assert settings(added)["fitnet"] == {"then.add": "at,sp", "then.at.weight": "500"}
    with pytest.raises(
        DocendoError, match=r'none of plain, kd has a setting "temprature"; did you mean "temperature"\?'
    ):
        asked("plain", "kd", sets={"temprature": 2})
    with pytest.raises(DocendoError, match="a comparison takes no seed: give --seeds"):
        asked("plain", seed=0)


def test_options_and_objects_find_their_place() -> None:
    definition = asked(KD(temperature=2), FSP(), student="resnet8", data="digits", root="d", epochs=3, download=False)
    assert settings(definition)["kd"]["temperature"] == 2.0
    assert definition.networks == ({"student": "resnet8"},)
    assert definition.data == ({"name": "digits", "root": "d"},)
    assert definition.run == {"epochs": 3}


def test_the_example_of_the_docs_is_a_study() -> None:
    text = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
    definition = study_settings(yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0]))
    labels = [choice.label for choice in choices_of(definition.methods)]
    assert labels == ["plain", "kd-temperature2", "kd-temperature4", "kd-temperature8", "kd+at"]
    assert definition.networks[0] == {"teacher": "wrn_40_2", "student": "wrn_16_2"}
    assert definition.vary == {"lr": (0.05, 0.1)}


def test_a_list_without_values_is_refused() -> None:
    methods = ["plain", {"method": "kd", "settings": {"temperature": []}}]
    with pytest.raises(DocendoError, match=r"^kd: temperature is \[\], but must be a value, or values to compare$"):
        choices_of(study_settings({"methods": methods}).methods)
