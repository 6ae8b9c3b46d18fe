"""The block map's page in a browser, at both nodes, during a migration and after it."""
import json
import time

from nearblock_tests.monitoring.browser import Browser
from nearblock_tests.monitoring.scene import DISKS, ODD_NAME, Scene, check

STATES = ("zero", "present", "repeated on this disk", "from a neighbour", "over the link", "missing", "written since it was sent")


def card(name: str) -> str:
    """JavaScript for the part of an export."""
    return f"[...document.querySelectorAll('article')].find(each => each.dataset.export === {json.dumps(name)})"


def url(scene: Scene, name: str) -> str:
    return f"http://127.0.0.1:{scene.web[name]}/"


def before_move(scene: Scene, browser: Browser) -> str:
    """Exports at rest: 1 TiB as quickly as any, names as text, the keyboard, and nothing from elsewhere."""
    browser.show(1000, 900, "light")
    browser.open(url(scene, "source"))
    browser.wait("all disks are shown", f"document.querySelectorAll('article').length === {len(DISKS) + 3}")
    browser.wait("it is live", "document.getElementById('connection').textContent === 'live'")
    check(browser.evaluate(f"{card(ODD_NAME)}.querySelector('h2').textContent") == ODD_NAME, "the odd name is garbled")
    check(browser.evaluate("document.querySelector('b') === null"), "a name became HTML")
    cells = browser.evaluate(f"{card('large')}.querySelector('canvas').getAttribute('aria-valuemax')")
    check(cells == "4095", f"1 TiB has {cells} cells and one")
    legend = browser.evaluate(f"{card('large')}.querySelector('.legend').innerText")
    check("zero: 99" in legend or "zero: 100" in legend, f"the holes of 1 TiB are not seen: {legend}")
    browser.evaluate(f"{card('one')}.querySelector('canvas').focus()")
    keys(browser)
    safety(scene, browser)
    return "1 TiB in 4096 cells"


def keys(browser: Browser) -> None:
    """Arrow keys move over the cells, and each is told in words."""
    canvas = f"{card('one')}.querySelector('canvas')"
    place = f"Number({canvas}.getAttribute('aria-valuenow'))"
    caption = f"{card('one')}.querySelector('.cell').textContent"
    browser.key("ArrowRight")
    check(browser.evaluate(place) == 1, "ArrowRight does not move")
    check("Cell 2 of" in browser.evaluate(caption), browser.evaluate(caption))
    browser.key("ArrowDown")
    check(browser.evaluate(place) > 2, "ArrowDown does not move")
    browser.key("End")
    check(browser.evaluate(f"{place} === Number({canvas}.getAttribute('aria-valuemax'))"), "End does not move")
    check("mostly" in browser.evaluate(f"{canvas}.getAttribute('aria-valuetext')"), "a cell has no text")
    browser.key("Home")
    check(browser.evaluate(place) == 0, "Home does not move")


def safety(scene: Scene, browser: Browser) -> None:
    """Scripts of the page's own origin only, and no requests elsewhere."""
    foreign = [each for each in browser.requests if not each.startswith((url(scene, "source"), "about:"))]
    check(not foreign, f"the page asks for {foreign}")
    check(not browser.complaints, f"the browser complains: {browser.complaints}")
    browser.evaluate("""(() => {
        const script = document.createElement('script');
        const policy = window.trustedTypes.createPolicy('test', {createScript: text => text});
        script.text = policy.createScript('window.wasRun = true');
        document.head.append(script);
    })()""")
    check(browser.evaluate("window.wasRun === undefined"), "an inline script is run")
    check(browser.evaluate(f"fetch('http://127.0.0.1:{scene.metrics['source']}/metrics')"
                           ".then(() => 'allowed', () => 'refused')") == "refused", "the page may ask elsewhere")
    browser.complaints.clear()


def during_move(scene: Scene, browser: Browser, pictures: str | None) -> str:
    """Both sides: phases, shares by source with words, and what the narrow and the dark page look like."""
    seen: set[str] = set()
    for name in ("source", "destination"):
        browser.open(url(scene, name))
        for disk in DISKS:
            browser.wait(f"{disk} moves at the {name}", f"{card(disk)}?.querySelector('.legend')?.innerText.includes('over the link')")
        legend = browser.evaluate("[...document.querySelectorAll('.legend')].map(each => each.innerText).join(' ')")
        seen |= {state for state in STATES if state in legend}
        browser.wait("cells change", f"""(async () => {{
            const picture = () => {card('three')}.querySelector('canvas').toDataURL();
            const before = picture();
            await new Promise(done => setTimeout(done, 1500));
            return picture() !== before;
        }})()""")
        if name == "source":
            check(browser.evaluate(f"{card('one')}.querySelector('progress').value > 0"), "no progress is shown")
            check(browser.evaluate(f"!{card('one')}.querySelector('.ledger').hidden"), "no ledger is shown")
        looks(browser, name, pictures)
    check(seen >= {"zero", "from a neighbour", "over the link", "missing"}, f"only {sorted(seen)} are seen")
    check(not browser.complaints, f"the browser complains: {browser.complaints}")
    return ", ".join(sorted(seen))


def looks(browser: Browser, name: str, pictures: str | None) -> None:
    for width, scheme in ((1000, "light"), (1000, "dark"), (400, "light"), (400, "dark")):
        browser.show(width, 900, scheme)
        time.sleep(0.3)
        wide = browser.evaluate("document.scrollingElement.scrollWidth")
        check(wide <= width, f"at {width} pixels the page is {wide} wide")
        ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        is_dark = sum(int(part) for part in ground[4:-1].split(",")) < 384
        check(is_dark == (scheme == "dark"), f"{scheme} has the ground {ground}")
        if pictures:
            browser.screenshot(f"{pictures}/{name}-{width}-{scheme}.png")
    browser.show(1000, 900, "light")


def after_move(scene: Scene, browser: Browser) -> str:
    browser.open(url(scene, "source"))
    for disk in DISKS:
        browser.wait(f"{disk} has moved", f"{card(disk)}?.querySelector('.last')?.innerText.includes('downtime')")
    browser.open(url(scene, "destination"))
    for disk in DISKS:
        browser.wait(f"{disk} is there", f"{card(disk)}?.dataset.state === 'serving'")
    check("missing" not in browser.evaluate("document.querySelector('main').innerText"), "blocks are missing afterwards")
    return "with its downtime"
