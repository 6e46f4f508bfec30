"""The console: where people see what the plant decides, who may, and how long nobody may be away from it."""

from pathlib import Path
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from neverblink.plant.listening import Listening, on_loopback
from neverblink.plant.mail import MailSettings
from neverblink.plant.section import Section, unique
from neverblink.plant.site import WebhookSettings

Language = Literal["en", "de"]
RoleWord = Literal["viewer", "operator", "reviewer", "engineer", "administrator"]


class LoginProvider(Section):
    """An OpenID provider, where people sign in once for all programs of the plant. Accounts of the console go on."""

    issuer: str = Field(
        min_length=8, max_length=255, description="The provider's issuer, as its own discovery document writes it."
    )
    client_id: str = Field(min_length=1, max_length=255, description="What the provider calls the console.")
    secret_file: Path | None = Field(
        default=None, description="File whose first line is the client's secret; none for a public client."
    )
    address: str = Field(
        min_length=8,
        max_length=255,
        description="Address at which browsers reach the console: the provider leads back to"
        " ADDRESS/sign-in/provider/back, which it must know.",
    )
    title: str = Field(
        default="single sign-on", min_length=1, max_length=40, description="What people call the provider."
    )
    scopes: tuple[str, ...] = Field(
        default=("profile",), max_length=16, description="Scopes that are asked for besides `openid`."
    )
    name_claim: str = Field(
        default="preferred_username",
        min_length=1,
        max_length=64,
        description="The claim that new accounts are named by.",
    )
    roles_claim: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="The claim that says in which groups a person is, such as `groups`; dots lead into it. Without it"
        " an administrator gives each new account its roles.",
    )
    roles: dict[str, dict[str, RoleWord]] = Field(
        default_factory=dict,
        description="Roles by line (`*`: all lines) for each value of that claim; they hold from the next sign-in on.",
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of the authorities that the provider's certificate is checked against."
    )

    @field_validator("issuer", "address")
    @classmethod
    def _not_in_clear(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and on_loopback(parts.hostname or "")):
            raise ValueError(f"{url} must begin with https://: passwords and sessions would travel in clear")
        if not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{url} must be an address without query and fragment")
        return url

    @model_validator(mode="after")
    def _roles_have_their_claim(self) -> Self:
        if bool(self.roles) != (self.roles_claim is not None):
            raise ValueError("roles_claim and roles go together: give both or neither")
        for value, roles in self.roles.items():
            if not roles:
                raise ValueError(f"roles of {value!r} name no line: write `*` for all lines")
            if any(role == "administrator" and line != "*" for line, role in roles.items()):
                raise ValueError(f"roles of {value!r} make an administrator of a line: one is of the whole plant, `*`")
        return self


class OnboardingSettings(Section):
    """Where pictures of new products may come from, and how much room they may take."""

    folders: tuple[Path, ...] = Field(
        default=(),
        max_length=100,
        description="Folders of this machine below which engineers may take pictures from; none: they send them, or"
        " take them from the line.",
    )
    upload_mib: int = Field(default=1024, ge=1, le=65_536, description="MiB of one picture or archive that is sent.")
    disk_gib: float = Field(
        default=20.0, gt=0, le=100_000, description="GiB that sent and taken pictures of all new products may take."
    )


class ConsoleSettings(Listening):
    """The pages of `neverblink console`, and its own database of accounts, sessions and audit."""

    TRAVELS: ClassVar[str] = "passwords and sessions"

    port: int = Field(default=8760, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    database: str = Field(
        default="sqlite:///console.db",
        min_length=1,
        description="SQLAlchemy URL of accounts, sessions, tokens and audit: never the ledger's database.",
    )
    work: Path = Field(
        default=Path("console-work"),
        description="Folder for the jobs that pages start and for pictures of new products, on a disk of this machine."
        " Consoles of one machine that share it run one job at a time between them.",
    )
    onboarding: OnboardingSettings = Field(
        default=OnboardingSettings(), description="Where pictures of new products may come from."
    )
    studies: Path | None = Field(
        default=None,
        description="Folder of agreement studies (`neverblink msa`): engineers may read their reports in the console.",
    )
    languages: tuple[Language, ...] = Field(
        default=("en", "de"),
        min_length=1,
        max_length=8,
        description="Languages that a person may choose; the first is spoken until one is chosen.",
    )
    lock_min: float = Field(
        default=15.0,
        ge=1,
        le=24 * 60,
        description="Minutes without a request after which a session asks for the password again. Accounts made for a"
        " screen on the wall can see only, and are not locked.",
    )
    session_h: float = Field(
        default=12.0, ge=0.1, le=24 * 31, description="Hours after which a person signs in anew, however busy."
    )
    sign_changes: bool = Field(
        default=False,
        description="Ask for password and meaning with each change; name, time and meaning stay on record.",
    )
    trace_url: str | None = Field(
        default=None,
        min_length=8,
        max_length=500,
        description="Where a part's trace is seen, with {trace_id} in it, such as"
        " https://grafana.example.com/explore?trace={trace_id}; null: the page of a part shows the id alone.",
    )
    oidc: LoginProvider | None = Field(
        default=None, description="Where people sign in besides: an OpenID provider; none unless it is described."
    )
    webhook: WebhookSettings | None = Field(
        default=None, description="Where every step of an alarm is posted as JSON; None: nowhere."
    )
    mail: MailSettings | None = Field(
        default=None, description="Who is told by mail of alarms that call; None: nobody."
    )
    viewers: int = Field(
        default=40, ge=1, le=1000, description="Pages that may follow the line live at once; more are told so."
    )
    query_s: float = Field(default=5.0, ge=0.1, le=300, description="How long one question to the records may take.")
    concurrent: int = Field(default=4, ge=1, le=64, description="Questions to the records in hand at most.")

    @field_validator("trace_url")
    @classmethod
    def _leads_to_a_trace(cls, address: str | None) -> str | None:
        if address is not None and (not address.startswith(("http://", "https://")) or "{trace_id}" not in address):
            raise ValueError("an address begins with http:// or https:// and has {trace_id} in it")
        return address

    @field_validator("languages")
    @classmethod
    def _each_once(cls, languages: tuple[Language, ...]) -> tuple[Language, ...]:
        unique("language", languages)
        return languages

    def trace_address(self, trace: str) -> str | None:
        """Return where a trace is seen, None where nobody said."""
        return None if self.trace_url is None else self.trace_url.replace("{trace_id}", trace)
