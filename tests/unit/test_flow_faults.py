"""What is wrong with a flow by itself is told before it runs, all at once, each with its place and what would help."""

import pytest

from jackfield import ContractError, Flow, Host
from jackfield.model.flow import Reference, Step
from jackfield.model.flow_faults import flaws

OK = Flow("f").step("one", "a.one").step("two", "a.two", value="$one")


@pytest.mark.parametrize(
    ("flow", "place", "reason", "fix"),
    [
        (Flow("f"), "steps", "it has no steps", "give it one"),
        (Flow("f f").step("a", "b"), "", "the name is not a dotted name", "use letters"),
        (Flow("f", version="").step("a", "b"), "", "'' is not a version", "as in '1.4.0'"),
        (Flow("f", timeout=0).step("a", "b"), "timeout", "a number of seconds above 0", "as in 30.0"),
        (Flow("f", timeout=float("inf")).step("a", "b"), "timeout", "a number of seconds above 0", "as in 30.0"),
        (Flow("f", timeout=float("nan")).step("a", "b"), "timeout", "a number of seconds above 0", "as in 30.0"),
        (Flow("f", timeout=True).step("a", "b"), "timeout", "a number of seconds above 0", "as in 30.0"),
        (Flow("f").step("send-mail", "b"), "steps.send-mail", "cannot be a step's name", "no digit first"),
        (Flow("f").step("1st", "b"), "steps.1st", "cannot be a step's name", "no digit first"),
        (Flow("f").step("input", "b"), "steps.input", "what the flow is called with", "another name"),
        (Flow("f").step("item", "b"), "steps.item", "the item of a step", "another name"),
        (Flow("f").step("a", "b").step("a", "b"), "steps.a", "there are two steps 'a'", "another name"),
        (Flow("f").step("a", "b b"), "steps.a.call", "the name is not a dotted name", "use letters"),
        (OK.step("x", "b", after=["tow"]), "steps.x.after.0", "there is no step 'tow'", "did you mean 'two'?"),
        (OK.step("x", "b", v="$tow.id"), "steps.x.with.v", "refers to 'tow', which is no step", "did you mean 'two'?"),
        (OK.step("x", "b", v={"w": ["$inptu"]}), "steps.x.with.v.w.0", "refers to 'inptu'", "did you mean 'input'?"),
        (OK.step("x", "b", v="$"), "steps.x.with.v", "'$' is no reference", "'$$' for a dollar"),
        (OK.step("x", "b", v="$one..id"), "steps.x.with.v", "'$one..id' is no reference", "'$$' for a dollar"),
        (OK.step("x", "b", with_="$5"), "steps.x.with", "'$5' is no reference", "'$$' for a dollar"),
        (OK.step("x", "b", v="$item.id"), "steps.x.with.v", "there is no `each` here", "add each"),
        (OK.step("x", "b", each="items"), "steps.x.each", "'items' is no reference", "'$input.items'"),
        (OK.step("x", "b", each="$item"), "steps.x.each", "there is no `each` here", "add each"),
        (OK.step("x", "b", parallel=3), "steps.x.parallel", "there is no `each`", "take it away"),
        (OK.step("x", "b", each="$one", parallel=0), "steps.x.parallel", "a whole number from 1", "as in 8"),
        (OK.step("x", "b", on_error="skip"), "steps.x.on_error", "'skip' is unknown", "'fail' or 'continue'"),
        (Flow("f", output="$tow", steps=OK.steps), "output", "refers to 'tow'", "did you mean 'two'?"),
        (Flow("f", output={"x": "$item"}, steps=OK.steps), "output.x", "there is no `each` here", "add each"),
        (Flow("f").step("a", "b", v="$a"), "steps.a", "wait for one another: a → a", "take one"),
        (
            Flow("f").step("a", "x", v="$c").step("b", "x", after=["a"]).step("c", "x", each="$b"),
            "steps.a",
            "wait for one another: a → c → b → a",
            "take one",
        ),
    ],
)
def test_each_flaw_has_its_place_its_reason_and_its_fix(flow, place, reason, fix):
    """One flaw each."""
    (flaw,) = flaws(flow)
    assert ".".join(map(str, flaw.at)) == place
    assert reason in flaw.reason
    assert fix in flaw.fix


def test_a_host_refuses_a_flow_with_all_its_flaws_at_once():
    """And has nothing of it."""
    flow = Flow("f").step("a-b", "x", v="$nobody").step("c", "y", after=["d"])
    host = Host(observers=())
    with pytest.raises(ContractError) as caught:
        host.add_flow(flow)
    assert [fault.entry.partition(" ")[2] for fault in caught.value.faults] == [
        "steps.a-b",
        "steps.a-b.with.v",
        "steps.c.after.0",
    ]
    assert "f" not in host.snapshot.functions


def test_what_a_step_is_called_with_is_plain_data():
    """An object of a class of somebody's own, without a form, is refused."""
    with pytest.raises(ContractError, match="no plain data"):
        Host(observers=()).add_flow(Flow("f").step("a", "b", value=object()))


def test_a_flow_may_refer_to_a_later_step():
    """The order in which steps are written is nothing but that."""
    assert not list(flaws(Flow("f").step("a", "x", v="$b").step("b", "y")))


def test_a_flow_is_a_value():
    """A step more is another flow."""
    assert [step.name for step in OK.steps] == ["one", "two"]
    assert OK.step("x", "y") != OK == Flow("f").step("one", "a.one").step("two", "a.two", value="$one")


@pytest.mark.parametrize("given", [{"with_": 1, "value": 2}, {"after": "one"}])
def test_a_step_that_contradicts_itself_is_a_mistake_in_the_program(given):
    """It is told at once."""
    with pytest.raises(TypeError, match="step 'x'"):
        OK.step("x", "y", **given)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("$a", Reference("a")),
        ("$a.b.0.c-d", Reference("a", ("b", "0", "c-d"))),
        ("$größe.x", Reference("größe", ("x",))),
        ("a", None),
        ("$", None),
        ("$$", None),
        ("$a.", None),
        ("$a b", None),
        ("$1", None),
    ],
)
def test_references(text, reference):
    """A dollar, a source, then keys."""
    assert Reference.parse(text) == reference
    assert reference is None or str(reference) == text


def test_a_step_needs_what_it_refers_to_and_what_it_comes_after():
    """Each once; neither the input nor an item is a step."""
    step = Step("x", "f", {"a": "$one.id", "b": ["$two", "$input", "$item", "$$three"]}, ("four", "one"), "$five")
    assert step.needs == ("four", "one", "two", "five")
