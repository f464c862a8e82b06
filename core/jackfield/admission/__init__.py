"""Who may run now: quotas, reserved seats, and fair shares of what there is among tenants."""

from jackfield.admission.admission import Admission
from jackfield.admission.seats import AdmissionStats, TenantStats
from jackfield.admission.shares import Share, shares_of

__all__ = ["Admission", "AdmissionStats", "Share", "TenantStats", "shares_of"]
